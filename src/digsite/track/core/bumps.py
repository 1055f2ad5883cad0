"""The test for smooth transitions: a stretch that is faster than what comes before it and what comes after.

A decay, a power law or logarithmic growth is fastest at its start and has no onset; a straight line is never faster. So
the statistic is the mean increment of a stretch beyond the *larger* of its two flanks, in the direction of the change,
for stretches of many lengths. As in the test for jumps it is divided by the spread of the same contrast along the series
and judged by surrogates that keep the spectrum of the increments: a wandering series has such stretches by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

from digsite.track.core import noise
from digsite.track.core.surrogates import random_phases

SHORTEST = 6
GROWTH = 1.4
LONGEST_SHARE = 0.3
DRAWS = 100
SMOOTHING = 3  # a stretch's ends are means of a third of its length
SCALE_LIMIT = 4.0
NOISY = 0.5  # share of the increments' spread from which the noise is what is seen, and its strength can be followed


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
    best: Stretch | None = None
    for k, length in enumerate(stretch_lengths(len(increments))):
        excess, _ = excess_speed(increments[None], length)
        z = excess[:, 0] / (null.spread[k] * null.weights[k])
        flank = flank_length(length)
        z[:, np.convolve(barred, np.ones(length), "valid")[flank : flank + z.shape[1]] > 0] = 0
        sign, begin = np.unravel_index(int(z.argmax()), z.shape)
        if z[sign, begin] > (best.z if best else 0.0):
            start = int(begin) + flank
            best = Stretch(start, start + length, 1 - 2 * int(sign), float(z[sign, begin]))
    return best


def farthest_stretch(increments: np.ndarray, barred: np.ndarray) -> Stretch | None:
    """The stretch that carries the series farthest by what is faster than its flanks, outside of what is barred (n,)."""
    best: Stretch | None = None
    for length in stretch_lengths(len(increments)):
        excess, _ = excess_speed(increments[None], length)
        way = excess[:, 0] * length
        flank = flank_length(length)
        way[:, np.convolve(barred, np.ones(length), "valid")[flank : flank + way.shape[1]] > 0] = 0
        sign, begin = np.unravel_index(int(way.argmax()), way.shape)
        if way[sign, begin] > (best.z if best else 0.0):
            start = int(begin) + flank
            best = Stretch(start, start + length, 1 - 2 * int(sign), float(way[sign, begin]))
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
