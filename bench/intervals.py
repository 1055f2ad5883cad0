"""Coverage of every kind of interval where our quantities live, beside Student's; by the standard library.

python bench/intervals.py [--full]
"""

import math
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

from digsite.base.intervals import seed_interval, student_interval

ANY = (-math.inf, math.inf)


@dataclass(frozen=True)
class Quantity:
    """What seeds give, what the interval is of (its mean or its median), and what it can be."""

    name: str
    draw: Callable[[random.Random], float]
    truth: float
    kind: str
    bounds: tuple[float, float] = ANY


def one_failure(rng: random.Random) -> float:
    return rng.uniform(0.05, 0.3) if rng.random() < 0.1 else rng.uniform(0.95, 1.0)


def poisson(rng: random.Random, mean: float) -> float:
    """By waiting times."""
    count, spent = 0, rng.expovariate(1)
    while spent < mean:
        count, spent = count + 1, spent + rng.expovariate(1)
    return float(count)


QUANTITIES = (
    Quantity("binary, 3 in 100", lambda r: float(r.random() < 0.03), 0.03, "share", (0, 1)),
    Quantity("binary, 1 in 2", lambda r: float(r.random() < 0.5), 0.5, "share", (0, 1)),
    Quantity("binary, 9 in 10", lambda r: float(r.random() < 0.9), 0.9, "share", (0, 1)),
    Quantity("share near 1, its mean", lambda r: r.betavariate(20, 0.5), 20 / 20.5, "mean", (0, 1)),
    Quantity("bounded, its mean", lambda r: r.betavariate(2, 3), 0.4, "mean", (0, 1)),
    Quantity("one failure in ten, its mean", one_failure, 0.9 * 0.975 + 0.1 * 0.175, "mean", (0, 1)),
    Quantity("one failure in ten, its median", one_failure, 0.95 + 0.05 * 0.4 / 0.9, "median"),
    Quantity("log-normal, its median", lambda r: r.lognormvariate(0, 1), 1.0, "median"),
    Quantity("normal, a difference", lambda r: r.gauss(0, 1), 0.0, "difference"),
    Quantity("Poisson count of 0.4", lambda r: poisson(r, 0.4), 0.0, "count", (0, math.inf)),
    Quantity("Poisson count of 3", lambda r: poisson(r, 3.0), 3.0, "count", (0, math.inf)),
    Quantity(
        "count, mostly none", lambda r: (r.random() < 0.2) * poisson(r, 5.0), 0.0, "count", (0, math.inf)
    ),
)


def covered(quantity: Quantity, n: int, repeats: int) -> tuple[float, float, float]:
    """Coverage, share of repeats with no interval or none with a width, and Student's coverage of the mean."""
    rng, hits, bare, usual = random.Random(n), 0, 0, 0
    long = random.Random(1)
    mean = statistics.fmean(quantity.draw(long) for _ in range(20_000))
    for _ in range(repeats):
        values = [quantity.draw(rng) for _ in range(n)]
        found = seed_interval(values, quantity.kind, least=quantity.bounds[0], most=quantity.bounds[1])
        bare += found.low is None or found.low == found.high
        hits += (
            found.low is not None
            and found.high is not None
            and found.low - 1e-9 <= quantity.truth <= found.high + 1e-9
        )
        _, low, high = student_interval(values)
        usual += low is not None and high is not None and low <= mean <= high
    return hits / repeats, bare / repeats, usual / repeats


def main(repeats: int) -> None:
    print(f"stated .95, at least .93 accepted; {repeats} repeats of means, ten times as many of the rest\n")
    print(f"{'quantity':<34}{'kind':<12}{'n':>3}  {'coverage':>8}  {'no width':>8}  {'Student':>8}")
    for quantity in QUANTITIES:
        for n in (5, 20):
            ours, bare, usual = covered(quantity, n, repeats if quantity.kind == "mean" else 10 * repeats)
            print(
                f"{quantity.name:<34}{quantity.kind:<12}{n:>3}  {ours:>8.3f}  {bare:>8.3f}  {usual:>8.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main(4000 if "--full" in sys.argv else 400)
