"""Contrasts of after against before: a bank of filters for a level change, one for each noise it may hide in.

A filter is the generalized least-squares estimate of a step or ramp under one noise (white, short memory, slow process
with measurement noise) on a constant or a straight base. No single one is best for all series, and none has to be: each
is judged by its own spread along the series, so an unfitting one loses power and never its error rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RISE = 10  # samples of the gradual templates
KINK_SCALE = 32  # samples in which a unit kink changes by one on either side


@dataclass(frozen=True)
class Contrast:
    """One filter: `half` samples on either side, a rise of `width`, a base of `degree`, and the noise it expects.

    The noise is a process of memory `root` from sample to sample (0: white) plus measurement noise whose variance is
    `measured` times that of the process. `kink` looks for a change of slope instead.
    """

    half: int
    width: int
    degree: int
    root: float = 0.0
    measured: float = 0.0
    kink: bool = False

    def profile(self, distance: np.ndarray) -> np.ndarray:
        """The unit change it looks for, over the distance to its middle."""
        return np.abs(distance) / KINK_SCALE if self.kink else rise_profile(distance, self.width)


BANK = (
    Contrast(4, 1, 0),
    Contrast(8, 1, 0),
    Contrast(16, 1, 0),
    Contrast(16, 1, 0, 0.8),
    Contrast(16, 1, 0, 0.95, 0.09),
    Contrast(16, RISE, 0),
    Contrast(32, RISE, 0),
    Contrast(32, RISE, 0, 0.95, 0.09),
    Contrast(32, 1, 1),
    Contrast(32, RISE, 1),
    Contrast(32, 1, 1, 0.8),
    Contrast(32, 1, 1, kink=True),
)


def rise_profile(distance: np.ndarray, width: int) -> np.ndarray:
    """A change of one around `distance` 0, abrupt (width 1) or linear over `width` samples."""
    return np.clip(distance / width + 0.5, 0, 1) if width > 1 else (distance > 0).astype(float)


@lru_cache(maxsize=256)
def sample_weights(contrast: Contrast) -> np.ndarray:
    """(2 half,) weights on the samples around a place; they sum to zero and give one for a unit change."""
    distance = np.arange(-contrast.half, contrast.half) + 0.5
    lags = np.abs(distance[:, None] - distance[None, :])
    process = contrast.root**lags if contrast.root else np.eye(len(distance))
    inverse = np.linalg.inv(process + contrast.measured * np.eye(len(distance)))
    base = np.stack([(distance / contrast.half) ** k for k in range(contrast.degree + 1)], axis=1)
    step = contrast.profile(distance)
    explained = base @ np.linalg.solve(base.T @ inverse @ base, base.T @ inverse @ step)
    left = inverse @ (step - explained)
    return left / (left @ step)


@lru_cache(maxsize=256)
def step_response(contrast: Contrast) -> tuple[np.ndarray, int]:
    """What the filter reads around a unit change of its own width, and the index of the change in that.

    It is what a found change adds to the filter's output at its neighbors, and so what cleaning takes away.
    """
    reach = 2 * contrast.half + contrast.width
    distance = np.arange(-reach - contrast.half, reach + contrast.half) + 0.5
    read = np.correlate(contrast.profile(distance), sample_weights(contrast), "valid")
    return read.astype(np.float32), reach


def usable_bank(samples: int) -> tuple[Contrast, ...]:
    """The filters whose window fits nearly twice into a series of this many samples."""
    return tuple(contrast for contrast in BANK if samples >= 3.5 * contrast.half)


@lru_cache(maxsize=16)
def bank_transfer(increments: int) -> np.ndarray:
    """(filters, frequencies) of the usable filters on so many increments, as correlations in a circle.

    Weights that sum to zero are weights on increments: so a level, and a drifting walk's start, drop out exactly.
    """
    bank = usable_bank(increments + 1)
    rows = np.zeros((len(bank), increments))
    for row, contrast in zip(rows, bank, strict=True):
        row[: 2 * contrast.half - 1] = -np.cumsum(sample_weights(contrast))[:-1]
    return np.conj(np.fft.rfft(rows, axis=1))


def apply_bank(increments: np.ndarray) -> list[np.ndarray]:
    """For each usable filter the estimated change at each place where its window fits, first at index `half`.

    `increments` has shape (samples - 1,); output k has samples + 1 - 2 half places.
    """
    count = len(increments)
    circle = np.fft.irfft(np.fft.rfft(increments)[None, :] * bank_transfer(count), count, axis=1)
    return [
        row[: count + 2 - 2 * contrast.half]
        for row, contrast in zip(circle, usable_bank(count + 1), strict=True)
    ]


def clean_spread(estimates: np.ndarray, contrast: Contrast, changes: int) -> np.ndarray:
    """(rows,) standard deviation of a filter's output along each row, without its `changes` largest contrasts.

    `estimates` has shape (rows, places). A jump reaches over a whole window; taken out by its known response, it leaves
    the spread of the rest, so two jumps in a series do not hide each other. A mean of absolute values, not of squares,
    as whatever is left over of a jump counts less.
    """
    read, middle = step_response(contrast)
    rows, places = estimates.shape
    left = estimates.astype(np.float32)
    padded = np.zeros(2 * (places + len(read)), np.float32)
    center = places + len(read)
    padded[center - middle : center - middle + len(read)] = read
    shifted = np.lib.stride_tricks.sliding_window_view(padded, places)
    every = np.arange(rows)
    for _ in range(changes):
        at = np.abs(left).argmax(axis=1)
        left = left - left[every, at][:, None] * shifted[center - at]
    return np.abs(left[:, :: max(contrast.half // 8, 1)]).mean(axis=1) / 0.7979  # E|z| of a standard normal
