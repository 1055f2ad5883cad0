"""Spikes: one or two samples that leave the course and come back, which is neither a step nor a bend."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter
from scipy.stats import t as student

from digsite.track.core import noise
from digsite.track.core.jumps import Change

# The far tail of x - median(5) against its root mean square, for Gaussian x: an outlier is not in its own median.
TAIL = 1.2
FREEDOM = noise.WINDOW // 2  # of the local scale: its windows overlap


def find_spikes(values: np.ndarray, alpha: float) -> list[Change]:
    """With family-wise error `alpha` per series on Gaussian noise with memory; heavy tails are spikes."""
    z = np.minimum(np.abs(_from_course(values)), np.abs(_from_forecast(values)))
    p = np.minimum(2 * len(values) * student.sf(z, FREEDOM), 1.0)
    places = np.flatnonzero(p <= alpha)
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(places) else []
    return [
        Change(int(run[0]), int(run[0]), int(run[-1]), len(run), float(p[run].min()), "spike")
        for run in runs
        if len(run) <= 2
    ]


def _from_course(values: np.ndarray) -> np.ndarray:
    """Distance from the running median of five: a step or a ramp has none."""
    rows = values[None, :]
    trend = noise.median_trend(rows)
    off = rows - trend - noise.running_median(rows - trend, 5)
    return (off / _floor_scale(TAIL * noise.clipped_scale(off), values))[0]


def _from_forecast(values: np.ndarray) -> np.ndarray:
    """Least squares for a single displaced sample under AR(2) noise: a wandering series seldom comes back at once."""
    rows = noise.cut_spikes(values[None, :], medians=5.0)  # what is asked about stays in the scale
    first, second = noise.fit_two_roots(rows)[0].tolist()
    scale = noise.innovation_scale(noise.whiten_roots(rows, (first, second)))[0]
    response = np.array([1.0, -(first + second), first * second])
    rest = noise.whiten_roots(values[None, :], (first, second))
    rest = (
        rest - noise.median_trend(rest) - noise.running_median(rest - noise.median_trend(rest), noise.CENTER)
    )[0]
    padded = np.r_[np.zeros(noise.LOST), rest / _floor_scale(scale, values), np.zeros(noise.LOST)]
    matched = lfilter(response[::-1], [1.0], padded)[noise.LOST :]
    return np.asarray(matched)[: len(values)] / np.sqrt((response**2).sum())


def _floor_scale(scale: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rounding is no noise."""
    return np.maximum(scale, 1e-9 * float(np.ptp(values)) + np.finfo(float).tiny)
