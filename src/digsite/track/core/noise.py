"""What the noise of a series is like: spikes cut back, local scale, and memory, all blind to trends and steps."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

WINDOW = 64
KNOT = 16
CENTER = 9
LAGS = (1, 2, 3, 4, 6)
# Standard deviation of x - median_filter(x, 9), clipped at four medians, for white Gaussian x; by Monte Carlo.
CENTERED_SD = 0.946
HUBER_K = 1.5
GRID = np.linspace(0, 1, 51)
# E[min(z^2, k^2)] for a standard normal and k = 1.5: makes the clipped variance consistent.
HUBER_BETA = 0.7785

LOST = 2  # samples that whitening by two roots takes from the start


def whiten_roots(columns: np.ndarray, roots: tuple[float, float]) -> np.ndarray:
    """(1 - a L)(1 - b L) x along the last axis, LOST samples shorter; (0, 0) leaves white noise as it is, (1, 0) a walk's steps."""
    for root in roots:
        columns = columns[..., 1:] - root * columns[..., :-1]
    return columns


def cut_windows(rows: np.ndarray, width: int = WINDOW, knot: int = KNOT) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping pieces of each row, (rows, pieces, width), and the middle index of each piece."""
    n = rows.shape[-1]
    width = min(width, n)
    starts = np.unique(np.r_[np.arange(0, n - width, knot), n - width]).astype(int)
    view = np.lib.stride_tricks.sliding_window_view(rows, width, axis=-1)
    return view[..., starts, :], starts + (width - 1) / 2


def spread_knots(at_knots: np.ndarray, middles: np.ndarray, n: int) -> np.ndarray:
    """Linear interpolation of values known at the window middles to all n samples, for each row."""
    if len(middles) == 1:
        return np.repeat(at_knots, n, axis=-1)
    grid = np.clip(np.arange(n), middles[0], middles[-1])
    right = np.clip(np.searchsorted(middles, grid, side="left"), 1, len(middles) - 1)
    weight = (grid - middles[right - 1]) / (middles[right] - middles[right - 1])
    return at_knots[..., right - 1] * (1 - weight) + at_knots[..., right] * weight


def clipped_scale(rows: np.ndarray) -> np.ndarray:
    """Root mean square in a sliding window, with values beyond four medians cut back to that.

    The mean stands in where the median is near zero: a running median leaves many exact zeros.
    """
    pieces, middles = cut_windows(np.abs(rows))
    cap = 4 * _typical_size(pieces)[..., None]
    return spread_knots(np.sqrt(np.mean(np.minimum(pieces, cap) ** 2, axis=-1)), middles, rows.shape[-1])


def _typical_size(pieces: np.ndarray) -> np.ndarray:
    """The median, but not below half the mean: sparse values have a median of zero."""
    return np.maximum(np.median(pieces, axis=-1), 0.5 * pieces.mean(axis=-1))


def running_median(rows: np.ndarray, width: int) -> np.ndarray:
    """Along the rows, ends repeated."""
    return median_filter(rows, size=(1, min(width, rows.shape[-1])), mode="nearest")


def median_trend(rows: np.ndarray) -> np.ndarray:
    """A curve with the local median of the increments as its increments: trends without steps.

    A running median is blind to noise on a steep slope, so slopes come off before medians are taken.
    """
    pieces, middles = cut_windows(np.diff(rows))
    steps = spread_knots(np.median(pieces, axis=-1), middles, rows.shape[-1] - 1)
    return np.concatenate([np.zeros((len(rows), 1)), np.cumsum(steps, axis=-1)], axis=-1)


def cut_spikes(rows: np.ndarray, medians: float = 4.0) -> np.ndarray:
    """Pull single outliers towards a running median of five; a step or a ramp passes unharmed.

    Medians of the distance, 2.3 standard deviations of Gaussian noise: heavy tails would widen a standard deviation,
    and what it lets through makes one false jump in seven long series of t3 noise.
    """
    trend = median_trend(rows)
    middle = running_median(rows - trend, 5) + trend
    off = rows - middle
    pieces, at = cut_windows(np.abs(off))
    # One huge spike would carry half the mean away.
    pieces = np.minimum(pieces, 4 * _typical_size(pieces)[..., None])
    cap = medians * spread_knots(_typical_size(pieces), at, rows.shape[-1])
    return middle + np.clip(off, -cap, cap)


def innovation_scale(innovations: np.ndarray) -> np.ndarray:
    """Local standard deviation of white noise on top of a trend with steps."""
    level = innovations - median_trend(innovations)
    return clipped_scale(level - running_median(level, CENTER)) / CENTERED_SD


def fit_root(rows: np.ndarray) -> np.ndarray:
    """The AR(1) coefficient of each row from its robust variogram: gamma(h) is proportional to 1 - phi^h.

    Increments are taken about their local median, so a trend drops out and a step is a few outliers among many.
    """
    scale = np.maximum(clipped_scale(np.diff(rows)), np.finfo(float).tiny)
    gamma = np.stack([_increment_variance(rows, lag, scale) for lag in LAGS], axis=-1)
    ratios = np.log(np.maximum(gamma[:, 1:], 1e-12) / np.maximum(gamma[:, :1], 1e-12))
    shape = np.stack([sum(GRID**k for k in range(lag)) for lag in LAGS[1:]], axis=-1)
    misfit = ((ratios[:, None, :] - np.log(shape)[None]) ** 2).sum(-1)
    return GRID[misfit.argmin(-1)]


def fit_two_roots(rows: np.ndarray) -> np.ndarray:
    """(rows, 2): two roots of the noise's recursion, the second from what the first leaves over.

    Training curves sampled finely are smoother than a random walk: their increments have a memory of their own.
    """
    first = fit_root(rows)
    rest = rows[:, 1:] - first[:, None] * rows[:, :-1]
    return np.stack([first, fit_root(rest)], axis=-1)


def _increment_variance(rows: np.ndarray, lag: int, scale: np.ndarray) -> np.ndarray:
    """Robust variance of increments at a lag, in units of the local scale."""
    steps = (rows[:, lag:] - rows[:, :-lag]) / scale[:, : rows.shape[1] - lag]
    pieces, middles = cut_windows(steps)
    steps = np.abs(steps - spread_knots(np.median(pieces, axis=-1), middles, steps.shape[-1]))
    variance = (1.4826 * np.median(steps, axis=-1)) ** 2
    for _ in range(3):  # Huber's proposal 2: few iterations from the median are enough
        variance = np.mean(np.minimum(steps**2, HUBER_K**2 * variance[:, None]), axis=-1) / HUBER_BETA
    return variance
