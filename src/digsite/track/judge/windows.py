"""When a behavior rises, from 10 to 90 % of its way, and whether jumps lie in that window more than by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import savgol_filter
from scipy.stats import binom


@dataclass(frozen=True)
class RiseWindow:
    """Training steps at which a behavior has gone 10, 50 and 90 % of its way, for good."""

    low: float
    middle: float
    high: float

    def holds(self, low: float, high: float) -> bool:
        """Whether an interval touches the window."""
        return low <= self.high and high >= self.low


@dataclass(frozen=True)
class Hits:
    """Runs with a jump in the window, against jumps moved by the same random shift in a circle."""

    found: int
    runs: int
    null: float
    p: float


def rise_window(steps: np.ndarray, behavior: np.ndarray, *, least: float = 0.3) -> RiseWindow | None:
    """None when the behavior rises by less than `least`: there is no transition to find."""
    start, end = float(np.median(behavior[:3])), float(np.median(behavior[-max(len(behavior) // 20, 3) :]))
    if end - start < least:
        return None
    share = (behavior - start) / (end - start)
    return RiseWindow(*(_last_crossing(steps, share, level) for level in (0.1, 0.5, 0.9)))


def _last_crossing(steps: np.ndarray, share: np.ndarray, level: float) -> float:
    """After the last sample below the level, halfway to the next one."""
    below = np.flatnonzero(share < level)
    if len(below) == 0:
        return float(steps[0])
    i = int(below[-1])
    return float(steps[i] if i + 1 == len(steps) else (steps[i] + steps[i + 1]) / 2)


def count_hits(
    windows: Sequence[RiseWindow | None],
    jumps: Sequence[Sequence[float]],
    total: float,
    rng: np.random.Generator,
) -> Hits:
    """`jumps` are the steps of each run's confirmed jumps."""
    pairs = [(w, np.asarray(j, dtype=float)) for w, j in zip(windows, jumps, strict=True) if w is not None]
    hits = sum(_jump_inside(w, j) for w, j in pairs)
    draws = [sum(_jump_inside(w, (j + rng.uniform(0, total)) % total) for w, j in pairs) for _ in range(500)]
    p = (1 + sum(d >= hits for d in draws)) / (len(draws) + 1)
    return Hits(hits, len(pairs), float(np.mean(draws)), float(p))


def _jump_inside(window: RiseWindow, jumps: np.ndarray) -> bool:
    """Any of them."""
    return bool(((jumps >= window.low) & (jumps <= window.high)).any())


@dataclass(frozen=True)
class DatingCourse:
    """One layer's measure: in how many runs its fastest sustained change lies in the window, and by chance."""

    layer: str
    measure: str
    found: int
    runs: int
    chance: float
    p: float


def steepest_step(values: np.ndarray, steps: np.ndarray, *, skip: int = 5) -> float | None:
    """The step of the fastest sustained change, after the first samples; None for a series with holes or no course.

    A transition that takes many samples is no jump: the curve is smooth and only its steepest place can be dated.
    """
    if len(values) < 30 or not np.isfinite(values).all() or np.ptp(values) == 0:
        return None
    width = max(len(values) // 10 // 2 * 2 + 1, 5)
    velocity = np.abs(np.asarray(savgol_filter(values, width, 1, deriv=1), dtype=float))
    return float(steps[skip + int(velocity[skip:].argmax())])


def dating_course(
    layer: str,
    measure: str,
    windows: Sequence[RiseWindow | None],
    places: Sequence[float | None],
    total: float,
    tests: int,
) -> DatingCourse:
    """`p` is binomial against the windows' share of training, corrected for `tests` curves that were looked at."""
    pairs = [(w, at) for w, at in zip(windows, places, strict=True) if w is not None and at is not None]
    hits = sum(w.low <= at <= w.high for w, at in pairs)
    share = float(np.mean([(w.high - w.low) / total for w, _ in pairs])) if pairs else 0.0
    p = min(1.0, tests * float(binom.sf(hits - 1, len(pairs), share))) if pairs else 1.0
    return DatingCourse(layer, measure, hits, len(pairs), share * len(pairs), p)
