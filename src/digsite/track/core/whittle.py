"""A noise model that tells a slow process from the noise of measuring it, fitted to the spectrum of the increments.

The series is x = process + measurement noise, the process an autoregression with two real roots (a unit root is a random
walk). Whittle's likelihood on a fixed grid needs no iterations and no start; the order is chosen by BIC. It says where a
change lies and how wide it is, for which the covariance within one window is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter
from scipy.special import gammaln
from scipy.stats import norm
from scipy.stats import t as student

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
        spectrum = spectrum + self.measurement * _difference_spectrum(_fine_grid())
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
    noise = _difference_spectrum(frequency)
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
    """Frequencies from 0 to pi."""
    return np.pi * np.arange(FINE + 1) / FINE


def _difference_spectrum(frequency: np.ndarray) -> np.ndarray:
    """Of first differences of white noise."""
    return 2 - 2 * np.cos(frequency)


def _process_shape(first: float, second: float, frequency: np.ndarray) -> np.ndarray:
    """Spectrum of the increments of an autoregression with these roots and unit innovations."""
    turn = np.exp(-1j * frequency)
    top = np.ones_like(frequency) if first == 1 else _difference_spectrum(frequency)
    below = np.abs(1 - second * turn) ** 2 * (1.0 if first == 1 else np.abs(1 - first * turn) ** 2)
    return top / below


# How heavy the tails of the innovations are, from quantiles that a handful of jumps does not move.

FREEDOMS = (2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 30.0)
TAILS = (2.0, 3.0, 4.0, 6.0, 10.0, 20.0)  # freedoms that a likelihood tries
SHARES = np.array([0.9, 0.95, 0.975, 0.985])
ORDER = 12
ROUNDS = 8  # of reweighting, after which a spread no longer moves
DOUBT = 1.0  # standard errors above the Gaussian before a tail is called heavy


def prediction_errors(increments: np.ndarray, model: NoiseModel) -> np.ndarray:
    """One-step prediction errors of increments (n,) under the noise model, by an autoregression of its covariance."""
    covariance = model.increment_covariance(ORDER + 1)
    covariance[0] *= 1 + 1e-9
    coefficients = solve_toeplitz(covariance[:-1], covariance[1:])
    return np.asarray(lfilter(np.r_[1.0, -coefficients], [1.0], increments))[ORDER:]


def tail_freedom(errors: np.ndarray) -> float:
    """Degrees of freedom of the Student distribution with the same tail quantiles, infinity when Gaussian ones do."""
    seen = heavier_side(errors - np.median(errors))
    gaussian, spread, knots = _gaussian_reference(len(errors))
    if seen <= gaussian + DOUBT * spread:
        return float("inf")
    return float(np.interp(-seen, -knots, FREEDOMS))


def heavier_side(errors: np.ndarray) -> float:
    """The larger tail ratio of the positive and the negative errors: skewed shocks are heavy on one side alone."""
    sides = (errors[errors > 0], -errors[errors < 0])
    return max((tail_ratio(side) for side in sides if len(side)), default=0.0)


def gaussian_gain(gain: float, freedom: float) -> float:
    """The gain that is as seldom with Gaussian innovations as this `gain` is with innovations of such tails."""
    if not np.isfinite(freedom):
        return gain
    size = np.sqrt(gain) * student.ppf(0.75, freedom) / norm.ppf(0.75)
    return float(norm.isf(student.sf(size, freedom)) ** 2)


def tail_ratio(sizes: np.ndarray) -> float:
    """Mean logarithm of upper quantiles of absolute values over their median."""
    quantiles = np.quantile(sizes, np.r_[0.5, SHARES])
    return float(np.mean(np.log(np.maximum(quantiles[1:], 1e-300) / max(quantiles[0], 1e-300))))


@lru_cache(maxsize=16)
def _gaussian_reference(count: int) -> tuple[float, float, np.ndarray]:
    """The Gaussian's ratio with its sampling spread at this length, and the ratios of FREEDOMS (falling)."""
    draws = np.random.default_rng(0).standard_normal((200, count))
    ratios = np.array([heavier_side(row) for row in draws])
    upper = (1 + np.r_[0.5, SHARES]) / 2
    exact = [np.mean(np.log(student.ppf(upper, f)[1:] / student.ppf(upper, f)[0])) for f in FREEDOMS]
    shift = float(ratios.mean() - np.mean(np.log(norm.ppf(upper)[1:] / norm.ppf(upper)[0])))
    return float(ratios.mean()), float(ratios.std()), np.array(exact) + shift


def student_score(errors: np.ndarray, scale: np.ndarray) -> float:
    """Twice the log-likelihood of white `errors` of relative strength `scale`, best over strength and tails."""
    return float(student_scores(errors, scale).max())


def student_scores(errors: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(1 + TAILS,) twice the log-likelihood of Gaussian errors and of each of these tails, at their best strength."""
    e2 = (errors / scale) ** 2
    count = len(e2)
    mean = max(float(e2.mean()), 1e-300)
    freedom = np.array(TAILS)[:, None]
    spread = np.full((len(TAILS), 1), 0.6 * mean)
    for _ in range(ROUNDS):
        weight = (freedom + 1) / (freedom + e2 / spread)
        spread = np.maximum((weight * e2).mean(1, keepdims=True), 1e-300)
    constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - 0.5 * np.log(freedom * np.pi * spread)
    tails = (freedom[:, 0] + 1) * np.log1p(e2 / (freedom * spread)).sum(1)
    return np.r_[-count * (np.log(2 * np.pi * mean) + 1), 2 * count * constant[:, 0] - tails]
