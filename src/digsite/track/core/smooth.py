"""Smooth transitions of a series: found as stretches that are faster than both flanks, dated by a logistic curve.

The curve says when ten, fifty and ninety percent of the change were done, with intervals. What decays, grows like a
logarithm or drifts has no onset and no end, and is none: it is fastest at its start, and a straight line is never faster.
So the statistic is the mean increment of a stretch beyond the *larger* of its two flanks, in the direction of the change,
for stretches of many lengths. As in the test for jumps it is divided by the spread of the same contrast along the series
and judged by surrogates that keep the spectrum of the increments: a wandering series has such stretches by chance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.special import expit

from digsite.track.core import noise
from digsite.track.core.shapes import why_no_transition
from digsite.track.core.surrogates import random_phases

TABLE = Path(__file__).with_name("smooth_null.json")
LEAST_SHARE = 0.15  # of the series' range
TEN_TO_NINETY = 2 * np.log(9)  # in units of the logistic's scale
SHORTEST_SERIES = 40
ZOOMS = 2


SHORTEST = 6
GROWTH = 1.4
LONGEST_SHARE = 0.3
DRAWS = 100
SMOOTHING = 3  # a stretch's ends are means of a third of its length
SCALE_LIMIT = 4.0
NOISY = 0.5  # share of the increments' spread from which the noise is what is seen, and its strength can be followed


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

    @property
    def is_dated(self) -> bool:
        """Whether the middle is known to within the transition's own width."""
        return self.middle[2] - self.middle[0] <= max(self.end[1] - self.onset[1], 1.0)

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
) -> tuple[list[SmoothChange], str]:
    """Transitions of `values` (n,) with family-wise error `alpha`, at most `most`, in the order they were found.

    And, where none is left of those that stand out, why: one that leads to no level, as in a series that swings, is none.
    """
    changes: list[SmoothChange] = []
    left, because = values, ""
    barred = np.zeros(len(values) - 1, dtype=bool)
    if len(values) < SHORTEST_SERIES:
        return changes, because
    for _ in range(most):
        change = strongest_change(left, barred)
        if change is None or change.p > alpha:
            break
        if abs(change.fit.size) < max(LEAST_SHARE * float(np.ptp(values)), 2 * quantum):
            break
        doubt = why_no_transition(left, change.fit.span, change.fit.size)
        doubt = doubt or ("" if change.fit.is_dated else "its middle is not known to within its own width")
        if doubt:
            because = because or doubt
        else:
            changes.append(change)
            left = left - change.fit.profile(len(values))
        barred[int(max(change.fit.onset[1], 0)) : int(max(change.fit.end[1], 0)) + 1] = True
    return changes, "" if changes else because


def strongest_change(values: np.ndarray, barred: np.ndarray) -> SmoothChange | None:
    """The most telling of the fastest stretch and the farthest one, its fit, and its chance without a transition.

    The transition asked about is taken out before surrogates are drawn; what that does to their level, and that two are
    asked about, is in the table.
    """
    increments = evened_increments(values)
    fastest = fastest_stretch(increments, bump_null(increments), barred)
    farthest = farthest_stretch(increments, barred)
    tried = [judged_stretch(values, increments, change, barred) for change in (fastest, farthest) if change]
    fitted = [change for change in tried if change is not None]
    return min(fitted, key=lambda change: change.p) if fitted else None


def judged_stretch(
    values: np.ndarray, increments: np.ndarray, stretch: Stretch, barred: np.ndarray
) -> SmoothChange | None:
    """A stretch against surrogates of the series without it."""
    fit = fit_logistic(values, stretch)
    null = bump_null(evened_increments(values - fit.profile(len(values))))
    elsewhere = barred.copy()
    elsewhere[: max(stretch.start - stretch.stop + stretch.start, 0)] = True
    elsewhere[2 * stretch.stop - stretch.start :] = True
    best = fastest_stretch(increments, null, elsewhere)
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


# The test: a stretch that is faster than what comes before it and what comes after.


@dataclass(frozen=True)
class Stretch:
    """Increments start to stop - 1 are the fast ones; `sign` is the direction, `z` the weighted excess."""

    start: int
    stop: int
    sign: int
    z: float


def stretch_lengths(increments: int) -> tuple[int, ...]:
    """Lengths that are tried, from the shortest to three tenths of the series."""
    count = int(np.log(max(LONGEST_SHARE * increments / SHORTEST, 1)) / np.log(GROWTH)) + 1
    return tuple(dict.fromkeys(round(SHORTEST * GROWTH**k) for k in range(count)))


def flank_length(length: int) -> int:
    """Half of the stretch on either side, at least three samples."""
    return max(length // 2, 3)


def excess_speed(increments: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(2, rows, places) excess of each stretch over its larger flank, upward and downward, and (rows, places) contrast.

    `increments` has shape (rows, n). Flanks are half as long as the stretch and lie next to it. The contrast, against
    the mean of the flanks, is what the spread is taken of.
    """
    flank = flank_length(length)
    total = smoothed_course(increments, max(length // SMOOTHING, 1))
    starts = np.arange(flank, increments.shape[1] - length - flank + 1)
    middle = (total[:, starts + length] - total[:, starts]) / length
    before = (total[:, starts] - total[:, starts - flank]) / flank
    after = (total[:, starts + length + flank] - total[:, starts + length]) / flank
    up = middle - np.maximum(np.maximum(before, after), 0)
    down = -middle - np.maximum(np.maximum(-before, -after), 0)
    return np.stack([up, down]), middle - (before + after) / 2


def contrast_spread(contrast: np.ndarray) -> np.ndarray:
    """(rows,) robust spread: a transition fills a part of the places only."""
    return np.maximum(np.median(np.abs(contrast), axis=1) / 0.6745, 1e-30)


def smoothed_course(increments: np.ndarray, width: int) -> np.ndarray:
    """(rows, n + 1) the series again, as running means of `width` samples: its ends would carry all of its noise."""
    total = np.concatenate([np.zeros((len(increments), 1)), np.cumsum(increments, axis=1)], axis=1)
    return uniform_filter1d(total, width, axis=1, mode="nearest") if width > 1 else total


@dataclass(frozen=True)
class BumpNull:
    """Per length the spread of the calm series' contrast and a weight, and the sorted largest of the surrogates."""

    spread: np.ndarray
    weights: np.ndarray
    largest: np.ndarray

    def tail_exponent(self, value: float) -> float:
        """Minus the logarithm of the share of draws above a value, linear in its square beyond the upper fifth."""
        first = int(0.8 * len(self.largest))
        corner = float(self.largest[first])
        if value <= corner:
            return float(-np.log(max(np.mean(self.largest >= value), 1 / len(self.largest))))
        excess = max(float(np.mean(self.largest[first:] ** 2 - corner**2)), 1e-12)
        return float(-np.log(0.2) + min((value**2 - corner**2) / excess, 600.0))


def bump_null(calm: np.ndarray) -> BumpNull:
    """The null of a series whose increments (n,), without the transition asked about, are `calm`."""
    count = len(calm)
    lengths = stretch_lengths(count)
    amplitude = np.abs(np.fft.rfft(calm))
    amplitude[0] = 0
    rows = np.fft.irfft(amplitude * random_phases(count, DRAWS), count, axis=1)
    studentized, spread = np.empty((len(lengths), DRAWS)), np.empty(len(lengths))
    for k, length in enumerate(lengths):
        excess, contrast = excess_speed(rows, length)
        studentized[k] = excess.max(axis=(0, 2)) / contrast_spread(contrast)
        spread[k] = contrast_spread(excess_speed(calm[None], length)[1])[0]
    weights = np.maximum(np.quantile(studentized, 0.9, axis=1), 1e-9)
    return BumpNull(spread, weights, np.sort((studentized / weights[:, None]).max(axis=0)))


def fastest_stretch(increments: np.ndarray, null: BumpNull, barred: np.ndarray) -> Stretch | None:
    """The stretch of the largest weighted excess outside of what is barred (n,)."""
    return _largest_stretch(increments, 1 / (null.spread * null.weights), barred)


def farthest_stretch(increments: np.ndarray, barred: np.ndarray) -> Stretch | None:
    """The stretch that carries the series farthest by what is faster than its flanks, outside of what is barred (n,)."""
    return _largest_stretch(increments, np.array(stretch_lengths(len(increments)), dtype=float), barred)


def _largest_stretch(increments: np.ndarray, factors: np.ndarray, barred: np.ndarray) -> Stretch | None:
    """The stretch of the largest excess over its flanks, times the factor of its length, outside of what is barred (n,)."""
    best: Stretch | None = None
    for length, factor in zip(stretch_lengths(len(increments)), factors, strict=True):
        excess, _ = excess_speed(increments[None], length)
        z = excess[:, 0] * factor
        flank = flank_length(length)
        z[:, np.convolve(barred, np.ones(length), "valid")[flank : flank + z.shape[1]] > 0] = 0
        sign, begin = np.unravel_index(int(z.argmax()), z.shape)
        if z[sign, begin] > (best.z if best else 0.0):
            start = int(begin) + flank
            best = Stretch(start, start + length, 1 - 2 * int(sign), float(z[sign, begin]))
    return best


def evened_increments(values: np.ndarray) -> np.ndarray:
    """Increments (n - 1,) with single outliers cut and, where they are mostly noise, divided by its local strength.

    A single large increment is a jump or a heavy tail and no smooth transition. A smooth series must not be divided by
    what is left of its own course.
    """
    increments = noise.cut_spikes(np.diff(values)[None])[0]
    rough = increments[None] - noise.running_median(increments[None], noise.CENTER)
    scale = noise.clipped_scale(rough)[0]
    middle = float(np.median(scale))
    if middle <= NOISY * float(increments.std()):
        return increments
    return increments / np.clip(scale / middle, 1 / SCALE_LIMIT, SCALE_LIMIT)
