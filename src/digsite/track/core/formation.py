"""When a part of a network formed: onset, middle and end of the largest rise of a curve, without a threshold on its level.

A representation's curve may lie near zero for most of training, rise, overshoot and fall again. What is dated is the largest climb from a low to
a later high; onset, middle and end are where 10, 50 and 90 % of it are gone, for the last time before the high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from digsite.base.errors import UsageError


@dataclass(frozen=True)
class Formation:
    """Steps of the largest climb of a curve, and how large it is beside the whole range of the curve."""

    onset: float
    middle: float
    end: float
    climb: float

    def holds(self, step: float) -> bool:
        return self.onset <= step <= self.end


def date_formation(
    steps: Float[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    *,
    falls: bool = False,
    logarithmic: bool = False,
) -> Formation | None:
    """The largest climb of a curve; None for one that never climbs.

    steps, values: the curve, n samples in order. falls: date the largest fall, as of a restricted loss. logarithmic: on
    log values, as of losses, which fall through orders of magnitude.
    """
    if len(steps) != len(values):
        raise UsageError(f"There are {len(values)} values but {len(steps)} steps.")
    v = np.log(np.maximum(values, 1e-12)) if logarithmic else np.asarray(values, dtype=float)
    v = -v if falls else v
    whole = np.isfinite(v)
    t, v = np.asarray(steps, dtype=float)[whole], v[whole]
    if len(v) < 3:
        return None
    ups = v - np.minimum.accumulate(v)
    high = int(ups.argmax())
    if ups[high] <= 0:
        return None
    low = int(v[: high + 1].argmin())
    share = (v[low : high + 1] - v[low]) / ups[high]
    at = [t[low + min(int(np.flatnonzero(share < level)[-1]) + 1, high - low)] for level in (0.1, 0.5, 0.9)]
    return Formation(float(at[0]), float(at[1]), float(at[2]), float(ups[high]))


def window_share(formation: Formation, steps: Float[np.ndarray, " n"]) -> float:
    """The chance that a date drawn at random lies in the window: its share of the samples, which are where dates can fall.

    formation: the window. steps: all samples of the run; their spacing is the clock, logarithmic for log-spaced ones.
    """
    return float(np.mean((steps >= formation.onset) & (steps <= formation.end)))
