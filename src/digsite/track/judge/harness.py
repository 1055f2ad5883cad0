"""Series with known answers: a detector's false alarms on nulls and its recall on planted jumps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from digsite.track.core.jumps import Change
from digsite.track.core.stepfit import Memory

Detector = Callable[[np.ndarray], list[Change]]
HEIGHT = 10.0  # of the smooth bases, in noise standard deviations
BURN_IN = 200
MATCH = 5  # samples between a find and the planted jump


def bases(n: int) -> dict[str, np.ndarray]:
    """Smooth curves without a jump; the decay time and the sigmoid's 10-90 % width stay the same for all n."""
    t = np.arange(n)
    return {
        "flat": np.zeros(n),
        "ramp": HEIGHT * t / 100,
        "decay": HEIGHT * np.exp(-t / 40),
        "sigmoid": HEIGHT / (1 + np.exp(-(t - n / 2) / (60 / np.log(81)))),
        "power": 2 * HEIGHT / np.sqrt(1 + t),
    }


def nulls(n: int, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """(count, n) series of each kind that hold no jump."""
    base = bases(n)
    white = {name: curve + rng.standard_normal((count, n)) for name, curve in base.items()}
    return {
        "white": white["flat"],
        "AR(1) 0.8": ar((0.8, 0.0), count, n, rng),
        "linear ramp": white["ramp"],
        "exponential decay": white["decay"],
        "sigmoid": white["sigmoid"],
        "noise falling 4 to 1": rng.standard_normal((count, n)) * np.linspace(4, 1, n),
        "random walk": ar((1.0, 0.0), count, n, rng),
        "smooth walk": ar((1.0, 0.6), count, n, rng),
        "decay + AR(1) 0.8": base["decay"] + ar((0.8, 0.0), count, n, rng),
        "power-law start": white["power"],
        "t3 tails": rng.standard_t(3, (count, n)),
        "noiseless decay": base["decay"] + 1e-13 * rng.standard_normal((count, n)),
    }


def ar(memory: Memory, count: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise with these roots; unit variance when both are below one, else unit innovations."""
    first, second = memory
    shocks = rng.standard_normal((count, n + BURN_IN))
    rows = np.asarray(lfilter([1.0], [1.0, -second], shocks, axis=1)) * np.sqrt(1 - min(second, 0.9999) ** 2)
    rows = np.asarray(lfilter([1.0], [1.0, -first], rows, axis=1))[:, BURN_IN:]
    return rows if first == 1 else rows / _spread(memory)


def _spread(memory: Memory) -> float:
    """Standard deviation of the recursion driven by a unit-variance AR(1) of the second root."""
    a, b = memory
    return float(np.sqrt((1 + a * b) / ((1 - a * b) * (1 - a**2))))


@dataclass(frozen=True)
class FalseAlarms:
    per_series: float
    share: float


@dataclass(frozen=True)
class Recall:
    recall: float
    false_per_series: float
    covered: float


def false_alarms(detect: Detector, rows: np.ndarray) -> FalseAlarms:
    counts = np.array([len(levels(detect(row))) for row in rows])
    return FalseAlarms(float(counts.mean()), float((counts > 0).mean()))


def levels(changes: list[Change]) -> list[Change]:
    return [change for change in changes if change.kind in ("step", "ramp")]


def planted(
    n: int,
    count: int,
    size: float,
    rng: np.random.Generator,
    *,
    base: str = "flat",
    width: int = 1,
    phi: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Series with a jump near each third, up then down or down then up; a short one has one jump in the middle."""
    t = np.arange(n)
    thirds = ((0.28, 0.38), (0.62, 0.72)) if n >= 200 else ((0.38, 0.62),)
    places = np.stack([rng.integers(int(a * n), int(b * n), count) for a, b in thirds], 1)
    signs = rng.choice([-1.0, 1.0], size=count)
    rows = bases(n)[base] + ar((phi, 0.0), count, n, rng)
    for row, pair, sign in zip(rows, places, signs, strict=True):
        for place, direction in zip(pair, (sign, -sign), strict=False):
            u = t - place + 0.5
            row += size * direction * (np.clip(u / width + 0.5, 0, 1) if width > 1 else (u > 0))
    return rows, places


def recall(detect: Detector, rows: np.ndarray, places: np.ndarray) -> Recall:
    """Share of planted jumps with a find within MATCH samples, false finds per series, and interval coverage."""
    hits = covered = false = 0
    for row, truth in zip(rows, places, strict=True):
        found = levels(detect(row))
        near = [[f for f in found if abs(f.index - place) <= MATCH] for place in truth]
        hits += sum(bool(group) for group in near)
        covered += sum(
            any(f.low <= place <= f.high for f in group) for group, place in zip(near, truth, strict=True)
        )
        false += sum(all(abs(f.index - place) > MATCH for place in truth) for f in found)
    return Recall(hits / places.size, false / len(rows), covered / max(hits, 1))


def false_alarm_table(
    detectors: Mapping[str, Detector], n: int, count: int, rng: np.random.Generator
) -> list[dict[str, object]]:
    return [
        {"n": n, "null": null, "detector": name, **vars(false_alarms(detect, rows))}
        for null, rows in nulls(n, count, rng).items()
        for name, detect in detectors.items()
    ]


def recall_table(
    detectors: Mapping[str, Detector], n: int, count: int, size: float, rng: np.random.Generator
) -> list[dict[str, object]]:
    cells = [("flat", 1, 0.0), ("flat", 10, 0.0), ("decay", 1, 0.0), ("decay", 10, 0.0), ("flat", 1, 0.8)]
    table = []
    for base, width, phi in cells:
        rows, places = planted(n, count, size, rng, base=base, width=width, phi=phi)
        cell = {"n": n, "base": base, "width": width, "memory": phi, "size": size}
        table += [cell | {"detector": k, **vars(recall(d, rows, places))} for k, d in detectors.items()]
    return table
