"""Where a change lies, how wide it is, and whether the series breaks there or only bends.

Least squares in a window, whitened by the noise model: a step or ramp on a straight base against a kink and against
smooth courses (quartics in time and in log time, wide enough for a sigmoid, a decay or a power law). Whatever bends is
left to the search for smooth transitions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.linalg import cholesky, solve_triangular, toeplitz
from scipy.ndimage import uniform_filter1d

from digsite.track.core.contrasts import KINK_SCALE, rise_profile

Shape = Literal["step", "ramp", "kink", "bend"]
NEAR = KINK_SCALE  # half of the window in which place and width are read
FAR = 96  # half of the window in which a smooth course is the rival
NUDGE = 12
KINK_REACH = 24
MARGIN_KINK = 4  # samples; the place of a kink is known no better
WIDTHS = (1, 2, 3, 5, 8, 10, 14, 18)
BEND_MARGIN = 7.0  # a quartic has three freedoms more than a line, and gains as much on noise alone
BREAK_GAIN = 7.0  # what a break must add to a smooth course


@dataclass(frozen=True)
class FittedChange:
    """A change of `size` between samples index - 1 and index, 95 % between low and high, over `width` samples.

    `gain` is what it explains, in units of the noise: the square of its size over its standard error.
    """

    index: int
    low: int
    high: int
    width: int
    size: float
    shape: Shape
    gain: float = 0.0

    def profile(self, samples: int) -> np.ndarray:
        """The change alone, at every sample."""
        distance = np.arange(samples) - self.index + 0.5
        return self.size * (
            np.abs(distance) / NEAR if self.shape == "kink" else rise_profile(distance, self.width)
        )


@dataclass(frozen=True)
class WhitenedWindow:
    """Increments of a window made white: `target` (m,), and `root` to do the same to any column of samples."""

    start: int
    stop: int
    root: np.ndarray
    target: np.ndarray

    def whiten_columns(self, columns: np.ndarray) -> np.ndarray:
        """`columns` (k, samples in the window) as (m, k)."""
        return solve_triangular(self.root, np.diff(columns, axis=1).T, lower=True, check_finite=False)

    @property
    def time(self) -> np.ndarray:
        """Sample numbers of the window."""
        return np.arange(self.start, self.stop)


def open_window(series: np.ndarray, covariance: np.ndarray, start: int, stop: int) -> WhitenedWindow:
    """`covariance`: of increments at distances 0, 1, ... at least stop - start - 1 of them."""
    count = stop - start - 1
    matrix = toeplitz(covariance[:count])
    matrix[np.diag_indices(count)] *= 1 + 1e-8
    root = cholesky(matrix, lower=True, check_finite=False)
    return WhitenedWindow(start, stop, root, solve_triangular(root, np.diff(series[start:stop]), lower=True))


def fit_change(
    series: np.ndarray, index: int, covariance: np.ndarray, degree: int = 1, breaks: bool = False
) -> FittedChange:
    """The best change near `index` in `series` (n,), and what it is; `breaks`: known to be no kink and no bend.

    `degree` of the base is that of the filter that found it: on a level course a free slope would take most of a gradual
    change for itself (with memory of .8 and ten samples a size of five deviations is known to 1.4 with it, to .7 without).
    """
    n = len(series)
    near = open_window(series, covariance, max(index - NEAR, 0), min(index + NEAR, n))
    line = orthonormal_span(near, chebyshev_powers(near.time, 1))
    base = line if degree else line[:, :0]
    places = np.arange(max(index - NUDGE, near.start + 3), min(index + NUDGE + 1, near.stop - 2))
    gain, size, grid = rise_gains(near, base, places)
    low, middle, high = central_interval(gain, grid[:, 0])
    best = int(np.where(grid[:, 0] == middle, gain, -np.inf).argmax())
    width = int(grid[best, 1])
    shape: Shape = "step" if width <= 3 else "ramp"
    change = FittedChange(middle, low, high, width, float(size[best]), shape, float(gain.max()))
    if breaks:
        return change
    bends = np.arange(max(index - KINK_REACH, near.start + 4), min(index + KINK_REACH + 1, near.stop - 3))
    kink_gain, kink_size, kink_at = kink_gains(near, line, bends)
    broken = squared_residue(near.target, line) - kink_gain
    if broken < squared_residue(near.target, base) - gain.max():
        smooth = min(
            squared_residue(near.target, orthonormal_span(near, c)) for c in smooth_courses(near.time, 4)
        )
        kind: Shape = "kink" if broken < smooth else "bend"
        low, high = kink_at - MARGIN_KINK, kink_at + MARGIN_KINK
        return FittedChange(kink_at, low, high, 1, kink_size, kind, kink_gain)
    broken_off = breaks_course(series, covariance, near, line, middle, width)
    return change if broken_off else replace(change, shape="bend")


def breaks_course(
    series: np.ndarray, covariance: np.ndarray, near: WhitenedWindow, line: np.ndarray, index: int, width: int
) -> bool:
    """Whether the change is more than a smooth course can do, close by and from afar."""
    gain, _, _ = rise_gains(near, line, np.array([index]), (width,))
    straight = squared_residue(near.target, line) - float(gain[0])
    smooth = min(
        squared_residue(near.target, orthonormal_span(near, c)) for c in smooth_courses(near.time, 4)
    )
    if straight > smooth + BEND_MARGIN:
        return False
    far = open_window(series, covariance, max(index - FAR, 0), min(index + FAR, len(series)))
    spans = [orthonormal_span(far, c) for c in smooth_courses(far.time, 4)]
    base = min(spans, key=lambda span: squared_residue(far.target, span))
    gained, _, _ = rise_gains(far, base, np.array([index]), (width,))
    return float(gained[0]) > BREAK_GAIN


def smooth_courses(time: np.ndarray, degree: int) -> list[np.ndarray]:
    """Polynomials in time and in log time."""
    return [chebyshev_powers(time, degree), chebyshev_powers(np.log1p(time), degree)]


def chebyshev_powers(time: np.ndarray, degree: int) -> np.ndarray:
    """(degree, samples) Chebyshev polynomials on the window, without the constant, to which increments are blind."""
    u = 2 * (time - time[0]) / (time[-1] - time[0]) - 1
    return np.polynomial.chebyshev.chebvander(u, degree).T[1:]


def orthonormal_span(window: WhitenedWindow, columns: np.ndarray) -> np.ndarray:
    """A basis of whitened columns."""
    return np.linalg.qr(window.whiten_columns(columns))[0]


def squared_residue(target: np.ndarray, basis: np.ndarray) -> float:
    """What of the target the basis leaves."""
    return float(np.sum((target - basis @ (basis.T @ target)) ** 2))


def rise_gains(
    window: WhitenedWindow, base: np.ndarray, places: np.ndarray, widths: tuple[int, ...] = WIDTHS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each (place, width) explains beyond the base, in units of the noise, its size, and the grid itself."""
    grid = np.array([(position, width) for position in places for width in widths])
    profiles = np.stack(
        [rise_profile(window.time - position + 0.5, width) for position, width in grid.tolist()]
    )
    return (*projected_gains(window, base, profiles), grid)


def kink_gains(window: WhitenedWindow, base: np.ndarray, places: np.ndarray) -> tuple[float, float, int]:
    """Best place of a bend, what it explains and its size."""
    profiles = np.abs(window.time[None, :] - places[:, None] + 0.5) / NEAR
    gain, size = projected_gains(window, base, profiles)
    best = int(gain.argmax())
    return float(gain[best]), float(size[best]), int(places[best])


def projected_gains(
    window: WhitenedWindow, base: np.ndarray, profiles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What each profile explains beyond the base, and the size that it then has."""
    left = window.whiten_columns(profiles)
    left = left - base @ (base.T @ left)
    norm2 = np.maximum((left**2).sum(0), 1e-12)
    product = left.T @ window.target
    return product**2 / norm2, product / norm2


def central_interval(gain: np.ndarray, places: np.ndarray) -> tuple[int, int, int]:
    """2.5 %, median and 97.5 % of the posterior over places, flat in place and width; the noise's variance is one.

    The median and not the best fit: a gradual change fits well at either of its ends.
    """
    weight = np.exp((gain - gain.max()) / 2)
    order, inverse = np.unique(places, return_inverse=True)
    mass = np.cumsum(np.bincount(inverse, weights=weight) / weight.sum())
    at = [order[min(int(np.searchsorted(mass, share)), len(order) - 1)] for share in (0.025, 0.5, 0.975)]
    return int(at[0]), int(at[1]), int(at[2])


# A smooth transition goes from one level to another. What is seen of the series has to hold both.

TURN_SHARE = 0.55  # of the rise: by so much a series that swings comes back within half of its period
TURN_REACH = 1.5  # widths (10 to 90 %) in which it does; a sine of any period has done so after 1.3
LEVEL_REACH = 0.6  # widths that have to be seen on either side
SWING_SHARE = 0.35  # of the rise
MOST_SWINGS = 3  # a loss falls, rises and falls; what takes turns more often oscillates


def why_no_transition(values: np.ndarray, span: tuple[float, float], sign: float) -> str:
    """Why the rise (fall for a negative `sign`) of `values` (n,) over this `span` of samples leads to no level; "" if it does.

    Read on means over half of its width, so that noise has no turns, and measured in what the means rise there: a straight
    base that is fitted along takes a part of the size, or adds to it.
    """
    onset, end = span
    width = max(end - onset, 1.0)
    if min(onset, len(values) - 1 - end) < LEVEL_REACH * width:
        return "too little of the series lies before or after it"
    course = np.sign(sign) * uniform_filter1d(values, max(round(width / 2), 1), mode="nearest")
    at = np.arange(len(values))
    rise = float(np.ptp(course[(at >= onset - width / 2) & (at <= end + width / 2)]))
    if count_swings(course, SWING_SHARE * rise) > MOST_SWINGS:
        return "rises and falls of its size take turns in the series"
    after = course[(at >= (onset + end) / 2) & (at <= end + TURN_REACH * width)]
    before = -course[(at <= (onset + end) / 2) & (at >= onset - TURN_REACH * width)][::-1]
    back = max(float((np.maximum.accumulate(side) - side).max()) for side in (before, after))
    return "it comes from, or goes back to, where it leads" if back > TURN_SHARE * rise else ""


def count_swings(course: np.ndarray, least: float) -> int:
    """How often `course` (n,) moves by at least this much, up and down in turn."""
    swings, direction = 0, 0
    low = high = float(course[0])
    for value in course.tolist():
        low, high = min(low, value), max(high, value)
        if (direction >= 0 and high - value >= least) or (direction <= 0 and value - low >= least):
            direction = 1 if value - low >= least and direction <= 0 else -1
            swings += 1
            low = high = value
    return swings
