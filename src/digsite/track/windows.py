"""When a behavior rises, from 10 to 90 % of its way, and whether jumps lie in that window more than by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
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


def rise_window(steps: np.ndarray, behavior: np.ndarray, *, least: float = 0.3) -> Window | None:
    """None when the behavior rises by less than `least`: there is no transition to find."""
    start, end = float(np.median(behavior[:3])), float(np.median(behavior[-max(len(behavior) // 20, 3) :]))
    if end - start < least:
        return None
    share = (behavior - start) / (end - start)
    return Window(*(_last_crossing(steps, share, level) for level in (0.1, 0.5, 0.9)))


def _last_crossing(steps: np.ndarray, share: np.ndarray, level: float) -> float:
    """After the last sample below the level, halfway to the next one."""
    below = np.flatnonzero(share < level)
    if len(below) == 0:
        return float(steps[0])
    i = int(below[-1])
    return float(steps[i] if i + 1 == len(steps) else (steps[i] + steps[i + 1]) / 2)


def hits(
    windows: Sequence[Window | None], jumps: Sequence[Sequence[float]], total: float, rng: np.random.Generator
) -> Hits:
    """`jumps` are the steps of each run's confirmed jumps."""
    pairs = [(w, np.asarray(j, dtype=float)) for w, j in zip(windows, jumps, strict=True) if w is not None]
    found = sum(_inside(w, j) for w, j in pairs)
    draws = [sum(_inside(w, (j + rng.uniform(0, total)) % total) for w, j in pairs) for _ in range(500)]
    p = (1 + sum(d >= found for d in draws)) / (len(draws) + 1)
    return Hits(found, len(pairs), float(np.mean(draws)), float(p))


def _inside(window: Window, jumps: np.ndarray) -> bool:
    return bool(((jumps >= window.low) & (jumps <= window.high)).any())
