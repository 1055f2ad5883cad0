"""How heavy the tails of a series' innovations are, from quantiles that a handful of jumps does not move."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter
from scipy.stats import norm
from scipy.stats import t as student

from digsite.track.core.whittle import NoiseModel

FREEDOMS = (2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 30.0)
SHARES = np.array([0.9, 0.95, 0.975, 0.985])
ORDER = 12
DOUBT = 2.0  # standard errors above the Gaussian before a tail is called heavy


def innovations(increments: np.ndarray, model: NoiseModel) -> np.ndarray:
    """One-step prediction errors of increments (n,) under the noise model, by an autoregression of its covariance."""
    covariance = model.increment_covariance(ORDER + 1)
    covariance[0] *= 1 + 1e-9
    coefficients = solve_toeplitz(covariance[:-1], covariance[1:])
    return np.asarray(lfilter(np.r_[1.0, -coefficients], [1.0], increments))[ORDER:]


def tail_freedom(errors: np.ndarray) -> float:
    """Degrees of freedom of the Student distribution with the same tail quantiles, infinity when Gaussian ones do."""
    seen = tail_ratio(np.abs(errors))
    gaussian, spread, knots = _reference(len(errors))
    if seen <= gaussian + DOUBT * spread:
        return float("inf")
    return float(np.interp(-seen, -knots, FREEDOMS))


def tail_ratio(sizes: np.ndarray) -> float:
    """Mean logarithm of upper quantiles of absolute values over their median."""
    quantiles = np.quantile(sizes, np.r_[0.5, SHARES])
    return float(np.mean(np.log(np.maximum(quantiles[1:], 1e-300) / max(quantiles[0], 1e-300))))


@lru_cache(maxsize=16)
def _reference(count: int) -> tuple[float, float, np.ndarray]:
    """The Gaussian's ratio with its sampling spread at this length, and the ratios of FREEDOMS (falling)."""
    draws = np.abs(np.random.default_rng(0).standard_normal((200, count)))
    ratios = np.array([tail_ratio(row) for row in draws])
    upper = (1 + np.r_[0.5, SHARES]) / 2
    exact = [np.mean(np.log(student.ppf(upper, f)[1:] / student.ppf(upper, f)[0])) for f in FREEDOMS]
    shift = float(ratios.mean() - np.mean(np.log(norm.ppf(upper)[1:] / norm.ppf(upper)[0])))
    return float(ratios.mean()), float(ratios.std()), np.array(exact) + shift
