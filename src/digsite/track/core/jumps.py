"""What a jump is, and the way from a detected change in sample index to a jump in training steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import false_discovery_control

from digsite.track.core.contrasts import rise_profile
from digsite.track.core.smooth import SmoothChange

HALF_WINDOW = 32  # samples on either side of a change in which its size is read
Kind = Literal["step", "ramp", "spike", "kink", "transition"]


@dataclass(frozen=True)
class Change:
    """A detector's find: the change lies between samples index - 1 and index, with 95 % between low and high."""

    index: int
    low: int
    high: int
    width: int = 1
    p: float | None = None
    kind: Kind = "step"

    @property
    def is_spike(self) -> bool:
        """Whether the level is soon what it was."""
        return self.kind == "spike"

    @property
    def is_kink(self) -> bool:
        """Whether the slope changes and the level does not."""
        return self.kind == "kink"


@dataclass(frozen=True)
class Jump:
    """A level change of a series; times are training steps, `width` too; `q` is p until layers are pooled.

    A smooth transition has its middle as `step` with the interval `low` to `high`, and an `onset` and `end` at which 10
    and 90 % of the change were done.
    """

    step: float
    low: float
    high: float
    before: float
    after: float
    change: float
    change_low: float
    change_high: float
    relative_change: float
    width: float
    speed: float
    phase: float
    kind: Kind
    index: int
    p: float | None
    q: float | None
    onset: float | None = None
    end: float | None = None

    @property
    def is_transition(self) -> bool:
        """Whether it is a smooth change over many samples; all others are jumps."""
        return self.kind == "transition"

    @property
    def direction(self) -> Literal["up", "down"]:
        """Of the level, not of the quality."""
        return "up" if self.change > 0 else "down"


def measure_change(
    change: Change, values: np.ndarray, steps: np.ndarray, others: Sequence[Change] = ()
) -> Jump:
    """Add size with interval, speed, and the times in training steps."""
    size_of = spike_height if change.is_spike else level_change
    before, size, error = size_of(change, values, others)
    at = _time_between(steps, change.index)
    duration = max(float(np.mean(np.diff(steps))) * change.width, np.finfo(float).tiny)
    scale = abs(before) if before else np.finfo(float).tiny
    return Jump(
        step=at,
        low=float(steps[max(change.low - 1, 0)]),
        high=float(steps[min(change.high, len(steps) - 1)]),
        before=before,
        after=before + size,
        change=size,
        change_low=size - 1.96 * error,
        change_high=size + 1.96 * error,
        relative_change=size / scale,
        width=duration,
        speed=abs(size) / duration,
        phase=float((at - steps[0]) / (steps[-1] - steps[0])),
        kind=change.kind,
        index=change.index,
        p=change.p,
        q=change.p,
    )


def measured_transition(change: SmoothChange, steps: np.ndarray) -> Jump:
    """A smooth change in training steps; `steps` (n,) may be uneven."""
    fit = change.fit
    at = lambda center: float(np.interp(center, np.arange(len(steps)), steps))  # noqa: E731
    low, middle, high = (at(center) for center in fit.middle)
    onset, end = at(fit.onset[1]), at(fit.end[1])
    duration = max(end - onset, np.finfo(float).tiny)
    return Jump(
        step=middle,
        low=low,
        high=high,
        before=fit.before,
        after=fit.before + fit.size,
        change=fit.size,
        change_low=fit.size - 1.96 * fit.error,
        change_high=fit.size + 1.96 * fit.error,
        relative_change=fit.size / (abs(fit.before) if fit.before else np.finfo(float).tiny),
        width=duration,
        speed=abs(fit.size) / duration,
        phase=float((middle - steps[0]) / (steps[-1] - steps[0])),
        kind="transition",
        index=int(np.clip(round(fit.middle[1]), 0, len(steps) - 1)),
        p=change.p,
        q=change.p,
        onset=onset,
        end=end,
    )


def _time_between(steps: np.ndarray, index: int) -> float:
    """The first sampled step after the change."""
    return float(steps[min(index, len(steps) - 1)])


def level_change(change: Change, values: np.ndarray, others: Sequence[Change]) -> tuple[float, float, float]:
    """Level before, size and its standard error from a line plus rise around the change, between its neighbors."""
    edges = [other.index for other in others if other.index != change.index]
    reach = HALF_WINDOW + change.width // 2
    start = max([change.index - reach, 0, *(e for e in edges if e <= change.index - 3)])
    stop = min([change.index + reach, len(values), *(e for e in edges if e >= change.index + 3)])
    u = np.arange(start, stop) - change.index + 0.5
    rise = rise_profile(u, change.width)
    design = np.stack([np.ones_like(u), u, rise], axis=1)
    piece = values[start:stop]
    coef, *_ = np.linalg.lstsq(design, piece, rcond=None)
    residual = piece - design @ coef
    sigma2 = float(residual @ residual) / max(len(u) - 3, 1)
    memory = _neighbors_agree(residual)
    inflate = (1 + memory) / (1 - memory)  # variance of a mean under AR(1) against independence
    error = np.sqrt(sigma2 * inflate * np.linalg.pinv(design.T @ design)[2, 2])
    return float(coef[0] - 0.5 * change.width * coef[1]), float(coef[2]), float(error)


def _neighbors_agree(residual: np.ndarray) -> float:
    """Correlation of neighboring residuals, between 0 and 0.95; 0 where one side does not vary."""
    now, before = residual[1:] - residual[1:].mean(), residual[:-1] - residual[:-1].mean()
    spread = float(np.sqrt((now @ now) * (before @ before)))
    return float(np.clip(now @ before / spread, 0, 0.95)) if spread > 0 else 0.0


def spike_height(change: Change, values: np.ndarray, others: Sequence[Change]) -> tuple[float, float, float]:
    """Level around a spike, its height and the standard error from its neighbors."""
    stop = change.index + change.width
    around = np.r_[values[max(change.index - 4, 0) : change.index], values[stop : stop + 4]]
    peak = values[change.index : stop]
    height = peak[np.abs(peak - np.median(around)).argmax()] - np.median(around)
    return float(np.median(around)), float(height), float(around.std(ddof=1))


def pool_q_values(jumps: Sequence[Jump], tests: int) -> list[Jump]:
    """q-values by Benjamini-Hochberg over all `tests` series; series without a jump count with p = 1."""
    known = [jump.p for jump in jumps if jump.p is not None]
    if not known:
        return list(jumps)
    padded = np.r_[known, np.ones(max(tests - len(known), 0))]
    adjusted = iter(false_discovery_control(np.clip(padded, 0, 1))[: len(known)])
    return [replace(j, q=float(next(adjusted))) if j.p is not None else j for j in jumps]
