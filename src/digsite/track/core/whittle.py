"""A noise model that tells a slow process from the noise of measuring it, fitted to the spectrum of the increments.

The series is x = process + measurement noise, the process an autoregression with two real roots (a unit root is a random
walk). Whittle's likelihood on a fixed grid needs no iterations and no start; the order is chosen by BIC. It says where a
change lies and how wide it is, for which the covariance within one window is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

ROOTS = (0.0, 0.3, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 1.0)
SECOND = (0.0, 0.3, 0.6, 0.8, 0.9)
BINS = 48
FINE = 1024


@dataclass(frozen=True)
class NoiseModel:
    """Two roots, the innovation variance of the process and the variance of the measurement noise."""

    first: float
    second: float
    process: float
    measurement: float

    def increment_covariance(self, lags: int) -> np.ndarray:
        """(lags,) covariance of the increments at distances 0, 1, ..."""
        spectrum = self.process * _process_shape(self.first, self.second, _fine_grid())
        spectrum = spectrum + self.measurement * _difference(_fine_grid())
        whole = np.r_[spectrum, spectrum[-2:0:-1]]
        return np.fft.ifft(whole).real[:lags]


def fit_noise(increments: np.ndarray) -> NoiseModel:
    """The model of highest BIC for increments (n,) that are freed of suspected jumps."""
    count = len(increments)
    power = np.abs(np.fft.rfft(increments - increments.mean())) ** 2 / count
    edges = _bin_edges(count)
    weights = np.diff(edges)
    binned = np.add.reduceat(power[: edges[-1]], edges[:-1]) / weights
    mean_log, inverse, parameters, orders = _model_grid(count)
    scale = (inverse * (weights * binned)).sum(axis=1) / weights.sum()
    scale = np.maximum(scale, np.finfo(float).tiny)
    # Twice the number of frequencies are real numbers, and each is worth half a logarithm.
    score = weights.sum() * (np.log(scale) + mean_log) + 0.5 * orders * np.log(count)
    best = int(score.argmin())
    first, second, process, measurement = parameters[best]
    return NoiseModel(first, second, float(scale[best]) * process, float(scale[best]) * measurement)


@lru_cache(maxsize=16)
def _model_grid(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean log and inverse of each model's binned spectrum, its parameters at scale one, and how many it has."""
    edges = _bin_edges(count)
    weights = np.diff(edges)
    frequency = 2 * np.pi * np.arange(count // 2 + 1) / count
    noise = _difference(frequency)
    rows, parameters, orders = [noise], [(0.0, 0.0, 0.0, 1.0)], [0]
    for first in ROOTS[1:]:
        for second in (b for b in SECOND if b <= first):
            process = _process_shape(first, second, frequency)
            middle = np.exp(np.log(process[1:]).mean() - np.log(noise[1:]).mean())
            for share in (0.0, *np.geomspace(0.01, 30, 9)):
                rows.append(process + share * middle * noise)
                parameters.append((first, second, 1.0, float(share * middle)))
                orders.append(1 + (second > 0) + (share > 0))
    spectra = np.stack([np.add.reduceat(row[: edges[-1]], edges[:-1]) / weights for row in np.stack(rows)])
    spectra = np.maximum(spectra, 1e-12)
    return (
        (np.log(spectra) * weights).sum(1) / weights.sum(),
        1 / spectra,
        np.array(parameters),
        np.array(orders),
    )


@lru_cache(maxsize=16)
def _bin_edges(count: int) -> np.ndarray:
    """Frequencies 1, 2, ... one by one, then in wider bins: a slow process shows in the lowest few."""
    last = count // 2 + 1
    return np.unique(np.round(np.r_[np.arange(1, 9), np.geomspace(9, last, BINS)]).astype(int).clip(1, last))


def _fine_grid() -> np.ndarray:
    return np.pi * np.arange(FINE + 1) / FINE


def _difference(frequency: np.ndarray) -> np.ndarray:
    return 2 - 2 * np.cos(frequency)


def _process_shape(first: float, second: float, frequency: np.ndarray) -> np.ndarray:
    """Spectrum of the increments of an autoregression with these roots and unit innovations."""
    turn = np.exp(-1j * frequency)
    top = np.ones_like(frequency) if first == 1 else _difference(frequency)
    below = np.abs(1 - second * turn) ** 2 * (1.0 if first == 1 else np.abs(1 - first * turn) ** 2)
    return top / below
