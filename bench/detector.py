"""The jump test on the families it was built on, on those it is judged by, and on planted jumps, beside its rivals.

    python bench/detector.py --sizes 60 300 1500 --count 100

"edge" is the share of answered series with at least one false jump, "answers" the share of series that are answered at all.
"""

import argparse
import importlib.util
from collections.abc import Callable
from time import process_time

import numpy as np

from digsite.track.core.detectors import edge
from digsite.track.core.detectors.rivals import Pelt
from digsite.track.core.jumptest import JumpSearch
from digsite.track.judge import planted_jumps

FEW = 25  # series a cell for the rivals
NEAR = 5


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
    sets = {"built on": planted_jumps.draw_build_families, "judged by": planted_jumps.draw_judge_families}
    for word, draw in sets.items():
        if only and only not in word:
            continue
        print(f"\nn = {size}, families it was {word} ({count} series; rivals {min(FEW, count)})")
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


def recall(size: int, count: int, seed: int) -> None:
    print(
        f"\nn = {size}, jumps of 5 sd ({count} series): recall within {NEAR} samples; of the series that say that"
    )
    print("they would see such a jump; false finds per series; share of intervals that hold the place")
    for base in planted_jumps.BASES:
        for width in (1, 10):
            rows, places = planted_jumps.plant_jumps(base, width, size, count, np.random.default_rng(seed))
            hit = held = false = total = claimed = claimed_hit = 0
            for row, truth in zip(rows, places, strict=True):
                found = levels(edge.judge_values(row))
                sizes = JumpSearch(row, np.zeros(size)).visible_sizes(0.05)
                sees = sizes[width > 1] <= 5.0
                for place in truth:
                    near = [c for c in found if abs(c.index - place) <= NEAR]
                    total += 1
                    hit += bool(near)
                    claimed += sees
                    claimed_hit += bool(near) and sees
                    held += any(c.low <= place <= c.high for c in near)
                false += sum(all(abs(c.index - place) > NEAR for place in truth) for c in found)
            print(
                f"{base:<18} over {width:>2}: {hit / total:.3f}; {claimed_hit / max(claimed, 1):.3f} of {claimed / total:.2f}; "
                f"{false / count:.2f}; {held / max(hit, 1):.2f}",
                flush=True,
            )


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
    parser.add_argument("--only", default="", help="built, judged, recall or speed")
    arguments = parser.parse_args()
    for size in arguments.sizes:
        count = arguments.count if size < 1000 else max(arguments.count // 4, 10)
        if arguments.only in ("", "built", "judged"):
            false_jumps(size, count, arguments.seed, arguments.only)
        if arguments.only in ("", "recall"):
            recall(size, count, arguments.seed)
    if arguments.only in ("", "speed"):
        speed()


if __name__ == "__main__":
    main()
