"""Smooth transitions of a series: found as stretches that are faster than both flanks, dated by a logistic curve.

The curve says when ten, fifty and ninety percent of the change were done, with intervals. What decays, grows like a
logarithm or drifts has no onset and no end, and is none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.special import expit

from digsite.track.core import bumps
from digsite.track.core.bumps import Stretch

TABLE = Path(__file__).with_name("smooth_null.json")
LEAST_SHARE = 0.15  # of the series' range
TEN_TO_NINETY = 2 * np.log(9)  # in units of the logistic's scale
SHORTEST_SERIES = 40
ZOOMS = 2


@dataclass(frozen=True)
class LogisticFit:
    """Sample times of 10, 50 and 90 % of the change with 95 % intervals (low, best, high), the level before,
    and the size with its standard error."""

    onset: tuple[float, float, float]
    middle: tuple[float, float, float]
    end: tuple[float, float, float]
    before: float
    size: float
    error: float

    @property
    def span(self) -> tuple[float, float]:
        """From 10 to 90 % of the way."""
        return self.onset[1], self.end[1]

    def profile(self, samples: int) -> np.ndarray:
        """The curve at every sample."""
        scale = max(self.end[1] - self.onset[1], 1e-9) / TEN_TO_NINETY
        return self.size * expit((np.arange(samples) - self.middle[1]) / scale)


@dataclass(frozen=True)
class SmoothChange:
    """A transition with its probability under the null."""

    fit: LogisticFit
    p: float


def find_smooth_changes(
    values: np.ndarray, alpha: float, most: int, quantum: float = 0.0
) -> list[SmoothChange]:
    """Transitions of `values` (n,) with family-wise error `alpha`, at most `most`, in the order they were found."""
    changes: list[SmoothChange] = []
    left = values
    barred = np.zeros(len(values) - 1, dtype=bool)
    if len(values) < SHORTEST_SERIES:
        return changes
    for _ in range(most):
        change = strongest_change(left, barred)
        if change is None or change.p > alpha:
            break
        if abs(change.fit.size) < max(LEAST_SHARE * float(np.ptp(values)), 2 * quantum):
            break
        changes.append(change)
        left = left - change.fit.profile(len(values))
        barred[int(max(change.fit.onset[1], 0)) : int(max(change.fit.end[1], 0)) + 1] = True
    return changes


def strongest_change(values: np.ndarray, barred: np.ndarray) -> SmoothChange | None:
    """The most telling of the fastest stretch and the farthest one, its fit, and its chance without a transition.

    The transition asked about is taken out before surrogates are drawn; what that does to their level, and that two are
    asked about, is in the table.
    """
    increments = bumps.evened_increments(values)
    fastest = bumps.fastest_stretch(increments, bumps.bump_null(increments), barred)
    farthest = bumps.farthest_stretch(increments, barred)
    tried = [judged_stretch(values, increments, change, barred) for change in (fastest, farthest) if change]
    fitted = [change for change in tried if change is not None]
    return min(fitted, key=lambda change: change.p) if fitted else None


def judged_stretch(
    values: np.ndarray, increments: np.ndarray, stretch: Stretch, barred: np.ndarray
) -> SmoothChange | None:
    """A stretch against surrogates of the series without it."""
    fit = fit_logistic(values, stretch)
    null = bumps.bump_null(bumps.evened_increments(values - fit.profile(len(values))))
    elsewhere = barred.copy()
    elsewhere[: max(stretch.start - stretch.stop + stretch.start, 0)] = True
    elsewhere[2 * stretch.stop - stretch.start :] = True
    best = bumps.fastest_stretch(increments, null, elsewhere)
    if best is None:
        return None
    return SmoothChange(fit, corrected_transition_p(null.tail_exponent(best.z), len(values)))


def fit_logistic(values: np.ndarray, stretch: Stretch) -> LogisticFit:
    """Least squares of a logistic curve on a straight base in a window of three lengths, over a grid of place and scale.

    The intervals are those of the grid's likelihood, its noise inflated for the memory of the residuals.
    """
    length = stretch.stop - stretch.start
    start, stop = max(stretch.start - length, 0), min(stretch.stop + length + 1, len(values))
    time = np.arange(start, stop)
    piece = values[start:stop]
    base = np.linalg.qr(np.stack([np.ones(len(time)), time - time.mean()], axis=1))[0]
    centers = np.linspace(stretch.start - 0.25 * length, stretch.stop + 0.25 * length, 31)
    scales = np.geomspace(max(length / 4, 1.0), 1.6 * length, 12) / TEN_TO_NINETY
    likely = grid_likelihood(time, piece, base, centers, scales)
    for _ in range(ZOOMS):
        likely = grid_likelihood(time, piece, base, *likely.closer_axes())
    ends = TEN_TO_NINETY / 2 * likely.scales
    dates = [
        weighted_interval(likely.centers + side * ends, likely.weight, likely.best)
        for side in (-1.0, 0.0, 1.0)
    ]
    course = base @ (base.T @ (piece - likely.curve))
    level = float(course[int(np.clip(round(dates[0][1]) - start, 0, len(time) - 1))])
    return LogisticFit(dates[0], dates[1], dates[2], level, likely.size, likely.error)


@dataclass(frozen=True)
class GridLikelihood:
    """Likelihood of logistic curves over a grid: flat `centers` and `scales`, `weight` (1 at the `best`), and the best one."""

    centers: np.ndarray
    scales: np.ndarray
    weight: np.ndarray
    best: int
    curve: np.ndarray
    size: float
    error: float
    spacing: tuple[float, float]

    def closer_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """The axes of a finer grid over what is likely, or over one cell where only one is."""
        centers, scales = self.centers[self.weight > 1e-4], self.scales[self.weight > 1e-4]
        step, ratio = self.spacing
        return (
            np.linspace(centers.min() - step, centers.max() + step, 31),
            np.geomspace(scales.min() / ratio, scales.max() * ratio, 12),
        )


def grid_likelihood(
    time: np.ndarray, piece: np.ndarray, base: np.ndarray, centers: np.ndarray, scales: np.ndarray
) -> GridLikelihood:
    """Every pair of `centers` and `scales` fitted to `piece` (m,) at `time` (m,) on the orthonormal `base` (m, k)."""
    grid = np.array([(c, s) for c in centers for s in scales])
    curves = expit((time[None, :] - grid[:, :1]) / grid[:, 1:])
    rest = piece - base @ (base.T @ piece)
    left = curves - (curves @ base) @ base.T
    norm2 = np.maximum((left**2).sum(1), 1e-12)
    gain = (left @ rest) ** 2 / norm2
    best = int(gain.argmax())
    size = float(left[best] @ rest / norm2[best])
    noise = max(long_run_variance(rest - size * left[best]), 1e-300)
    return GridLikelihood(
        centers=grid[:, 0],
        scales=grid[:, 1],
        weight=np.exp((gain - gain.max()) / (2 * noise)),
        best=best,
        curve=size * curves[best],
        size=size,
        error=float(np.sqrt(noise / norm2[best])),
        spacing=(float(centers[1] - centers[0]), float(scales[1] / scales[0])),
    )


def fits_better(values: np.ndarray, fit: LogisticFit, profile: np.ndarray) -> bool:
    """Whether the curve explains `values` (n,) better than an abrupt change of this unit `profile` (n,) does.

    Both on a straight base, in a window of three times the transition.
    """
    reach = max(fit.end[1] - fit.onset[1], 10.0)
    start, stop = int(max(fit.onset[1] - reach, 0)), int(min(fit.end[1] + reach, len(values) - 1)) + 1
    time = np.arange(start, stop)
    base = np.linalg.qr(np.stack([np.ones(len(time)), time - time.mean()], axis=1))[0]
    rest = values[start:stop] - base @ (base.T @ values[start:stop])
    gains = []
    for column in (fit.profile(len(values))[start:stop], profile[start:stop]):
        left = column - base @ (base.T @ column)
        gains.append(float(left @ rest) ** 2 / max(float(left @ left), 1e-12))
    return gains[0] > gains[1]


def long_run_variance(residual: np.ndarray) -> float:
    """Variance of residuals times what their memory makes of a mean: for a smooth misfit few of them are independent."""
    variance = float(residual @ residual) / max(len(residual) - 5, 1)
    memory = float(residual[1:] @ residual[:-1]) / max(float(residual @ residual), 1e-300)
    memory = float(np.clip(memory, 0, 0.95))
    return variance * (1 + memory) / (1 - memory)


def weighted_interval(times: np.ndarray, weight: np.ndarray, best: int) -> tuple[float, float, float]:
    """2.5 % point, best fit and 97.5 % point of weighted times; the interval holds the best fit."""
    order = np.argsort(times)
    mass = np.cumsum(weight[order]) / weight.sum()
    low = float(times[order[min(int(np.searchsorted(mass, 0.025)), len(mass) - 1)]])
    high = float(times[order[min(int(np.searchsorted(mass, 0.975)), len(mass) - 1)]])
    at = float(times[best])
    return min(low, at), at, max(high, at)


def corrected_transition_p(exponent: float, samples: int) -> float:
    """The share of series without a transition whose surrogates speak as strongly."""
    table = _transition_null_table()
    if table is None:
        return float(np.exp(-exponent))
    sizes, levels, knots = table
    at = np.array([np.interp(np.log(samples), np.log(sizes), column) for column in knots.T])
    y = -np.log(levels)
    if exponent >= at[-1]:
        return float(np.exp(-(y[-1] + (y[-1] - y[1]) / (at[-1] - at[1]) * (exponent - at[-1]))))
    return float(np.exp(-np.interp(exponent, np.r_[0, at], np.r_[0, y])))


@lru_cache(maxsize=1)
def _transition_null_table() -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The null distribution by number of samples; None before it is made."""
    if not TABLE.is_file():
        return None
    stored = json.loads(TABLE.read_text())
    return np.array(stored["sizes"]), np.array(stored["levels"]), np.array(stored["minus_log"])
