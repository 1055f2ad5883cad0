"""A self-normalized CUSUM for one change of the mean: needs no noise model, and is here to be compared with.

Shao and Zhang (2010): the CUSUM at each place is divided by the cumulative deviations on either side of it, so that the
long-run variance cancels. Its null (a Brownian one) holds for stationary short memory and not for trends or walks.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

DRAWS = 400
DRAWN_AT = 400


def self_normalized_cusum(values: np.ndarray) -> tuple[float, int]:
    """The largest quotient over the places of `values` (n,), and the place."""
    n = len(values)
    k = np.arange(1, n)
    total = np.cumsum(values)
    bridge = total[:-1] - k / n * total[-1]
    first, second = _left_deviations(values), _left_deviations(values[::-1])[::-1]
    quotient = (bridge**2 / n) / np.maximum((first + second) / n**2, 1e-300)
    return float(quotient.max()), int(quotient.argmax()) + 1


def _left_deviations(values: np.ndarray) -> np.ndarray:
    """For each k = 1 .. n - 1 the sum over j <= k of (S_j - j / k S_k)^2."""
    total = np.cumsum(values)[:-1]
    j = np.arange(1, len(values))
    return np.cumsum(total**2) - 2 * total / j * np.cumsum(j * total) + (total / j) ** 2 * np.cumsum(j**2.0)


@lru_cache(maxsize=1)
def critical_value(level: float = 0.05) -> float:
    """Its quantile on white noise."""
    rng = np.random.default_rng(0)
    return float(
        np.quantile(
            [self_normalized_cusum(rng.standard_normal(DRAWN_AT))[0] for _ in range(DRAWS)], 1 - level
        )
    )


def shifts_mean(values: np.ndarray) -> bool:
    """Whether the mean of `values` (n,) changes at a level of 5 %."""
    return self_normalized_cusum(values - values.mean())[0] > critical_value()
