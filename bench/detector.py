"""The jump test on the families it was built on, on those it is judged by, and on planted jumps, beside its rivals.

    python bench/detector.py --sizes 60 300 1500 --count 200
    python bench/detector.py --only rises --sizes 60 300 --count 40   # false smooth transitions alone
    python bench/detector.py --only table --sizes 60 300 1500   # the evidence in series without jumps, for jumptest_null.json

"edge" is the share of answered series with at least one false jump, "answers" the share of series that are answered at all. For
smooth transitions "rise" is the share of all series with a false one, "refused" the share where something stands out that leads to no level. Recall is of answered series, beside two filters that know the width of the jump: one knows the noise
too, the other only that it is a process of one root or a walk with measurement noise, and has to hold 5 % on each of these.
"""

import argparse
import importlib.util
from collections.abc import Callable
from functools import lru_cache
from time import process_time

import numpy as np
from scipy.linalg import toeplitz
from scipy.signal import lfilter

from digsite.track.core import jumptest, likelihood, noise, whittle
from digsite.track.core.contrasts import rise_profile
from digsite.track.core.detect import find_transitions
from digsite.track.core.detectors import edge
from digsite.track.core.detectors.rivals import Pelt
from digsite.track.core.series import make_series
from digsite.track.judge import planted_jumps

ORACLE = 500  # series that set the oracle's limit
FEW = 25  # series a cell for the rivals
NEAR = 5
ROOTS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0)
MEASUREMENT = (0.0, 0.3, 1.0, 3.0)  # deviations of the noise over those of the process, or of a walk's steps


def skchange_rule() -> Callable[[np.ndarray], bool] | None:
    """PELT of skchange with its own default penalty, where the package is installed."""
    if importlib.util.find_spec("skchange") is None:
        return None
    try:
        from skchange.change_detectors import PELT

        return lambda x: len(PELT().fit(x[:, None]).predict(x[:, None])) > 0
    except Exception as error:  # another layout of the package
        print(f"skchange cannot be used: {type(error).__name__}: {error}")
        return None


def levels(verdict: edge.Verdict) -> list:
    return [c for c in verdict.changes if c.kind in ("step", "ramp")]


def false_jumps(size: int, count: int, seed: int, only: str) -> None:
    skchange = skchange_rule()
    sets = {
        "built on": planted_jumps.draw_build_families,
        "judged by": planted_jumps.draw_judge_families,
        "kept back": planted_jumps.draw_kept_families,
        "fresh": planted_jumps.draw_fresh_families,
    }
    for word, draw in sets.items():
        if only and only not in word:
            continue
        print(f"\nn = {size}, families: {word} ({count} series; rivals {min(FEW, count)})")
        print(f"{'null':<34}{'edge':>6}{'answers':>9}{'SN-CUSUM':>10}{'ruptures':>10}{'skchange':>10}")
        worst, answered = [], []
        for name, rows in draw(size, count, np.random.default_rng(seed)).items():
            verdicts = [edge.judge_values(np.asarray(row, dtype=float)) for row in rows]
            told = [v for v in verdicts if v.applies]
            share = float(np.mean([bool(levels(v)) for v in told])) if told else float("nan")
            few = [np.asarray(row, dtype=float) for row in rows[:FEW]]
            cusum = np.mean([planted_jumps.shifts_mean(row) for row in few])
            ruptures = np.mean([bool(Pelt.detect(row)) for row in few])
            other = f"{np.mean([skchange(row) for row in few]):10.2f}" if skchange else f"{'-':>10}"
            print(
                f"{name:<34}{share:6.2f}{len(told) / count:9.2f}{cusum:10.2f}{ruptures:10.2f}{other}",
                flush=True,
            )
            worst.append(share)
            answered.append(len(told) / count)
        print(
            f"{'worst / mean / share answered':<34}{np.nanmax(worst):6.2f} / {np.nanmean(worst):.3f} / "
            f"{np.mean(answered):.2f}",
            flush=True,
        )


def swings_chosen_on(n: int, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Periodic families on which the rules for smooth transitions were chosen, each series with a period and phase of its own."""
    t = np.arange(n)
    white = lambda: rng.standard_normal((count, n))  # noqa: E731
    turns = lambda least=12: (  # noqa: E731
        t / np.exp(rng.uniform(np.log(least), np.log(n / 2.5), (count, 1))) + rng.uniform(0, 1, (count, 1))
    )
    sine = lambda: np.sin(2 * np.pi * turns())  # noqa: E731
    triangle = lambda: np.abs((turns() % 1) * 4 - 2) - 1  # noqa: E731
    slowed = lambda rows: np.asarray(lfilter([0.2], [1, -0.8], rows, axis=1))  # noqa: E731
    return {
        "sine, noise .05": sine() + 0.05 * white(),
        "sine, noise .3": sine() + 0.3 * white(),
        "triangle, noise .01": triangle() + 0.01 * white(),
        "triangle, noise .2": triangle() + 0.2 * white(),
        "sawtooth, smoothed": slowed(turns(20) % 1 + 0.05 * white()),
        "square, smoothed": slowed(np.sign(np.sin(2 * np.pi * turns(20))) + 0.1 * white()),
        "sine without noise": sine() + 1e-6 * white(),
        "sine on a decay": sine() + 5 * np.exp(-t / (n / 6)) + 0.1 * white(),
        "damped sine": np.exp(-t / (n / 2)) * sine() + 0.05 * white(),
        "cubed sine": sine() ** 3 + 0.1 * white(),
    }


def swings_drawn_after(n: int, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Swinging and smooth families that were written down when the rules were set, and by which they are judged."""
    t = np.arange(n)
    white = lambda: rng.standard_normal((count, n))  # noqa: E731
    phase = rng.uniform(0, 1, (count, 1))
    turns = lambda most=2.2: (  # noqa: E731
        t / np.exp(rng.uniform(np.log(10), np.log(n / most), (count, 1))) + rng.uniform(0, 1, (count, 1))
    )
    wave = lambda x: np.sin(2 * np.pi * x)  # noqa: E731
    skewed = lambda x, up: np.where(x % 1 < up, (x % 1) / up, (1 - x % 1) / (1 - up))  # noqa: E731
    root = 0.98 * np.exp(2j * np.pi / (n / 7))
    shocks = rng.standard_normal((count, n + 300))
    oscillator = np.asarray(lfilter([1], [1, -2 * root.real, abs(root) ** 2], shocks, axis=1))[:, -n:]
    return {
        "chirp": wave(phase + 3 * (t / n) + 5 * (t / n) ** 2) + 0.05 * white(),
        "two periods": wave(turns()) + 0.6 * wave(turns()) + 0.1 * white(),
        "rectified sine": np.abs(wave(turns() / 2)) + 0.03 * white(),
        "triangle, 70 % up": skewed(turns(), 0.7) + 0.03 * white(),
        "triangle, 15 % up": skewed(turns(), 0.15) + 0.03 * white(),
        "growing sine": (0.3 + t / n) * wave(turns()) + 0.05 * white(),
        "sine in AR .8": wave(turns()) + 0.3 * planted_jumps.draw_process(0.8, count, n, rng),
        "period of n / 3": wave(3 * t / n + phase) + 0.05 * white(),
        "train of bumps": np.exp(4 * (wave(turns()) - 1)) + 0.02 * white(),
        "cycles of a loss": 4 * np.exp(-t / (n / 4)) * (1 + 0.2 * wave(turns())) + 0.03 * white(),
        "noisy oscillator": oscillator,
        "sine on a walk": wave(turns()) + 0.05 * planted_jumps.draw_process(1, count, n, rng),
        "smooth, length n / 30": planted_jumps.draw_smooth(n / 30, count, n, rng),
        "smooth, length n / 5": planted_jumps.draw_smooth(n / 5, count, n, rng),
        "slow process, memory n / 4": planted_jumps.draw_process(np.exp(-4 / n), count, n, rng),
        "walk of increments with memory": planted_jumps.draw_two_root_process((1, 0.8), count, n, rng),
        "fractional motion .6": np.cumsum(planted_jumps.draw_long_memory(0.6, count, n, rng), axis=1),
    }


def planted_rises(
    n: int, count: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Logistic rises from a tenth to three tenths of the series wide, in its middle part; their middles and widths (count,)."""
    t = np.arange(n)
    white = lambda: rng.standard_normal((count, n))  # noqa: E731
    middle, width = rng.uniform(0.3, 0.7, count) * n, rng.uniform(0.1, 0.3, count) * n
    rise = 1 / (1 + np.exp(-(t - middle[:, None]) * 2 * np.log(9) / width[:, None]))
    slow = planted_jumps.draw_process(np.exp(-1 / 20), count, n, rng)
    rows = {
        "4 sd": 4 * rise + white(),
        "8 sd": 8 * rise + white(),
        "8 sd in AR .8": 8 * rise + planted_jumps.draw_process(0.8, count, n, rng),
        "8 sd in slow process + noise": 8 * rise + slow + 0.3 * white(),
        "8 sd on a decay": 8 * rise + 6 * np.exp(-t / (n / 20)) + white(),
        "100 sd": rise + 0.01 * white(),
    }
    return rows, middle, width


def date_rows(rows: np.ndarray) -> list[tuple[list, str]]:
    """Smooth transitions of each series, and why none is dated."""
    out = []
    for row in rows:
        kept, _, undated = find_transitions(make_series(np.asarray(row, dtype=float)), [])
        out.append((kept, undated))
    return out


def false_rises(size: int, count: int, seed: int) -> None:
    sets = {
        "chosen on": swings_chosen_on,
        "judged by": swings_drawn_after,
        "of the jump test, built on": planted_jumps.draw_build_families,
        "of the jump test, fresh": planted_jumps.draw_fresh_families,
    }
    for word, draw in sets.items():
        print(
            f"\nn = {size}, smooth transitions, families {word} ({count} series)\n{'null':<40}{'rise':>6}{'refused':>9}"
        )
        shares = []
        for name, rows in draw(size, count, np.random.default_rng(seed)).items():
            dated = date_rows(rows)
            shares.append(float(np.mean([bool(kept) for kept, _ in dated])))
            refused = float(np.mean([bool(undated) for _, undated in dated]))
            print(f"{name:<40}{shares[-1]:6.2f}{refused:9.2f}", flush=True)
        print(f"{'worst / mean':<40}{max(shares):6.2f} / {np.mean(shares):.3f}", flush=True)
    rises, middles, widths = planted_rises(size, count, np.random.default_rng(seed))
    print(f"\nn = {size}, planted rises: dated within half a width of the middle; refused")
    for name, rows in rises.items():
        dated = date_rows(rows)
        near = [
            any(abs(jump.step - middle) <= width / 2 for jump in kept)
            for (kept, _), middle, width in zip(dated, middles, widths, strict=True)
        ]
        print(
            f"{name:<40}{np.mean(near):6.2f}{np.mean([bool(undated) for _, undated in dated]):9.2f}",
            flush=True,
        )


def known_noise(base: str) -> whittle.NoiseModel:
    """What `planted_jumps.draw_base` draws from."""
    root = np.exp(-1 / 20)
    if base == "AR .8":
        return whittle.NoiseModel(0.8, 0, 1 - 0.8**2, 0)
    if base == "process + noise":
        return whittle.NoiseModel(root, 0, (1 - root**2) / 1.09, 0.09 / 1.09)
    return whittle.NoiseModel(0, 0, 0, 1.0)


def filtered_gains(
    rows: np.ndarray, noise: whittle.NoiseModel, width: int, half: int, slope: bool
) -> np.ndarray:
    """Squared size over its variance at each place, by least squares in a window, the base a level or a straight line."""
    covariance = noise.increment_covariance(2 * half - 1)
    inverse = np.linalg.inv(toeplitz(covariance) + 1e-9 * covariance[0] * np.eye(2 * half - 1))
    if slope:
        side = inverse.sum(1)
        inverse = inverse - np.outer(side, side) / side.sum()
    profile = np.diff(rise_profile(np.arange(-half, half) + 0.5, width))
    weights = inverse @ profile
    return np.stack([np.correlate(np.diff(row), weights, "valid") for row in rows]) ** 2 / (profile @ weights)


def oracle_recall(base: str, width: int, size: int, seed: int, slope: bool) -> float:
    """Recall of a filter that knows noise, trend and width, held at 5 % a series on that very noise."""
    half = 32 if size >= 200 else 16
    trend = 10 * np.exp(-np.arange(size) / 40) if base == "decay" else 0
    nulls = planted_jumps.draw_base(base, size, ORACLE, np.random.default_rng(seed + 1)) - trend
    rows, places = planted_jumps.plant_jumps(base, width, size, ORACLE // 5, np.random.default_rng(seed))
    noise = known_noise(base)
    limit = np.quantile(filtered_gains(nulls, noise, width, half, slope).max(1), 0.95)
    return share_hit(filtered_gains(rows - trend, noise, width, half, slope), places - half, limit)


def gains_of_any_noise(rows: np.ndarray, width: int) -> np.ndarray:
    """(count, places) twice the log-likelihood that a change over `width` samples gains where no noise is known."""
    plan = likelihood.plan_filters(rows.shape[1])
    column = likelihood.WIDTHS.index(width)
    out = []
    for row in rows:
        white = likelihood.whiten_values((row - row.mean()) / np.std(np.diff(row)), plan)
        energy = (white**2).sum(1)
        left = energy[:, None] - likelihood.correlate_changes(white, plan)[:, column] ** 2
        out.append(white.shape[1] * np.log(energy.min() / np.maximum(left.min(0), 1e-12)))
    return np.array(out)


@lru_cache(maxsize=4)
def limit_of_any_noise(width: int, size: int, seed: int) -> float:
    """What such a gain may be if no noise of this kind is to give more in above 5 % of its series."""
    rng = np.random.default_rng(seed + 2)
    limits = []
    for root in ROOTS:
        for strength in MEASUREMENT:
            rows = planted_jumps.draw_process(root, ORACLE // 4, size, rng)
            rows = rows + strength * rng.standard_normal(rows.shape)
            limits.append(np.quantile(gains_of_any_noise(rows, width).max(1), 0.95))
    return float(max(limits))


def agnostic_recall(base: str, width: int, size: int, seed: int) -> float:
    """Recall of a filter that knows trend and width and has to hold 5 % on every noise of ROOTS and MEASUREMENT."""
    if size >= 200:  # two jumps, and this filter asks about one
        return float("nan")
    trend = 10 * np.exp(-np.arange(size) / 40) if base == "decay" else 0
    rows, places = planted_jumps.plant_jumps(base, width, size, ORACLE // 5, np.random.default_rng(seed))
    first = int(likelihood.plan_filters(size).places[0])
    limit = limit_of_any_noise(width, size, seed)
    return share_hit(gains_of_any_noise(rows - trend, width), places - first, limit)


def share_hit(gains: np.ndarray, places: np.ndarray, limit: float) -> float:
    """Share of `places` (count, jumps) around which the largest of `gains` is above the limit and lies near."""
    hits = []
    for row, truth in zip(gains, places, strict=True):
        for place in truth:
            start = max(place - 20, 0)
            best = start + int(row[start : place + 21].argmax())
            hits.append(row[best] > limit and abs(best - place) <= NEAR)
    return float(np.mean(hits))


def recall(size: int, count: int, seed: int) -> None:
    print(
        f"\nn = {size}, jumps of 5 sd ({count} series): recall within {NEAR} samples; false finds per series;"
    )
    print(
        "share of intervals that hold the place; share answered; recall of a filter that knows the noise, base level / "
        "straight; of one that does not know it"
    )
    for base in planted_jumps.BASES:
        for width in (1, 10):
            rows, places = planted_jumps.plant_jumps(base, width, size, count, np.random.default_rng(seed))
            verdicts = [edge.judge_values(row) for row in rows]
            kept = np.array([verdict.applies for verdict in verdicts])
            answers = iter([verdict.changes for verdict in verdicts if verdict.applies])
            found = planted_jumps.measure_recall(lambda _, left=answers: next(left), rows[kept], places[kept])
            print(
                f"{base:<18} over {width:>2}: {found.recall:.3f}; {found.false_per_series:.2f}; {found.covered:.2f}; "
                f"{kept.mean():.2f}; "
                f"{' / '.join(f'{oracle_recall(base, width, size, seed, slope):.3f}' for slope in (False, True))}; "
                f"{agnostic_recall(base, width, size, seed):.3f}",
                flush=True,
            )


def draw_table(size: int, count: int, seed: int) -> None:
    """Quantiles of the evidence for the likeliest level change, over the process-like families together."""
    families = planted_jumps.draw_build_families(size, count, np.random.default_rng(seed))
    every = []
    for name in planted_jumps.PROCESSES:
        for row in families[name]:
            search = jumptest.JumpSearch(noise.cut_spikes(row[None])[0], np.zeros(size))
            every.append(max((e for e in evidences(search)), default=0.0))
    levels = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
    print(size, [round(float(np.quantile(every, 1 - level)), 2) for level in levels], flush=True)


def draw_likely_table(size: int, count: int, seed: int) -> None:
    """Gains of one change and of two that 5 % reach, and quantiles of the larger of both beyond these."""
    families = planted_jumps.draw_build_families(size, count, np.random.default_rng(seed))
    zeros, gains = np.zeros(size), []
    for row in (row for name in planted_jumps.PROCESSES for row in families[name]):
        values = noise.cut_spikes(row[None])[0]
        weighed = likelihood.weigh_changes(values, jumptest.increment_scale(np.diff(values)), (-1e9, -1e9))
        assert weighed is not None
        gains.append([(likely.gain, likely.evidence(zeros)) for likely in weighed])
    at = np.quantile(np.array(gains)[:, :, 0], 0.95, axis=0)
    beyond = (np.array(gains)[:, :, 1] - at).max(1)
    levels = (0.2, 0.1, 0.05, 0.02, 0.01)
    print(
        size,
        at.round(1).tolist(),
        [round(float(np.quantile(beyond, 1 - level)), 2) for level in levels],
        flush=True,
    )


def evidences(search: jumptest.JumpSearch):
    """Of all level changes that would be looked at, were none found."""
    for _ in range(jumptest.MISSES):
        one = jumptest.strongest_fit(search)
        if one is None:
            return
        index, change, evidence = one
        if change.shape in ("step", "ramp"):
            yield evidence
        search.bar_place(index, bends=True)


def speed() -> None:
    rows = np.random.default_rng(0).standard_normal((30, 400))
    edge.judge_values(rows[0])
    start = process_time()
    for row in rows:
        edge.judge_values(row)
    print(f"\none series of 400: {(process_time() - start) / len(rows) * 1e3:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[60, 300])
    parser.add_argument("--count", type=int, default=50, help="series a cell; a quarter of it from n = 1,000")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument(
        "--only", default="", help="built, judged, kept, fresh, rises, recall, speed or table"
    )
    parser.add_argument(
        "--full", action="store_true", help="60, 300 and 1,500 samples, 200 series a cell: hours"
    )
    arguments = parser.parse_args()
    if arguments.full:
        arguments.sizes, arguments.count = [60, 300, 1500], 200
    for size in arguments.sizes:
        count = arguments.count if size < 1000 else max(arguments.count // 4, 10)
        if arguments.only == "table":
            draw_table(size, count, arguments.seed)
            draw_likely_table(size, count, arguments.seed)
        if arguments.only in ("", "built", "judged", "kept", "fresh"):
            false_jumps(size, count, arguments.seed, arguments.only)
        if arguments.only == "rises":
            false_rises(size, count, arguments.seed)
        if arguments.only in ("", "recall"):
            recall(size, count, arguments.seed)
    if arguments.only in ("", "speed"):
        speed()


if __name__ == "__main__":
    main()
