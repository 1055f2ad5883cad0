"""What the largest contrast of a series would be without jumps: its own increments with the phases drawn anew.

Random phases keep the spectrum exactly and lose every place in time. For a series whose increments are Gaussian and
stationary, whatever its memory (process, measurement noise, long memory, periods, smoothness), the series and its
surrogates are exchangeable. So nothing has to be fitted, and a spectrum no model knows is as good as one it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from digsite.track.core import contrasts

DRAWS = 100
UPPER = 0.8  # the tail beyond this share of the draws goes on like that of a Gaussian maximum
NARROW_WEIGHT = 2.0  # windows' worth of trust in the narrowest filter's spread
LOST_BY = np.float32(1e-30)


@dataclass(frozen=True)
class SurrogateNull:
    """Null of the largest studentized contrast. `weights` put the filters on one footing; `largest` are sorted draws."""

    weights: np.ndarray
    largest: np.ndarray
    freedom: float = np.inf

    def tail_probability(self, value: float) -> float:
        """Chance of a larger contrast somewhere in the series; beyond the draws' tail exponential in the square, or a power."""
        start = int(UPPER * len(self.largest))
        corner = float(self.largest[start])
        if value <= corner:
            return float(np.mean(self.largest >= value))
        if np.isfinite(self.freedom):
            return (1 - UPPER) * (corner / value) ** self.freedom
        excess = float(np.mean(self.largest[start:] ** 2 - corner**2))
        return (1 - UPPER) * float(np.exp(-min((value**2 - corner**2) / max(excess, 1e-12), 700.0)))

    def value_at(self, probability: float) -> float:
        """The contrast that is exceeded with this probability."""
        start = int(UPPER * len(self.largest))
        corner = float(self.largest[start])
        if probability >= 1 - UPPER:
            return float(np.quantile(self.largest, 1 - probability))
        if np.isfinite(self.freedom):
            return corner * ((1 - UPPER) / probability) ** (1 / self.freedom)
        excess = float(np.mean(self.largest[start:] ** 2 - corner**2))
        return float(np.sqrt(corner**2 + excess * np.log((1 - UPPER) / probability)))


@lru_cache(maxsize=8)
def random_phases(count: int, draws: int) -> np.ndarray:
    """(draws, frequencies) unit complex numbers; the same for all series of a length, so that an answer repeats."""
    angle = np.random.default_rng(count).random((draws, count // 2 + 1))
    return np.exp(2j * np.pi * angle).astype(np.complex64)


def jumps_expected(samples: int) -> int:
    """How many changes the spread of a filter is kept safe from."""
    return 1 if samples < 150 else 2


def pooled_spread(spread: np.ndarray, samples: int) -> np.ndarray:
    """(filters, rows) spreads, those of wide filters pulled to what white noise of the narrowest's spread would give.

    A wide window fits a few times only into a short series, so its own spread is known badly. What it is pulled to need
    not be right, as surrogates are treated in the same way.
    """
    bank = contrasts.usable_bank(samples)
    gain = np.array([np.sum(contrasts.sample_weights(contrast) ** 2) for contrast in bank])
    windows = np.array([max((samples - 2 * contrast.half) / (2 * contrast.half), 0.5) for contrast in bank])
    reference = spread[0] ** 2 / gain[0]
    own = windows[:, None] * spread**2
    return np.sqrt((own + NARROW_WEIGHT * gain[:, None] * reference) / (windows[:, None] + NARROW_WEIGHT))


def surrogate_nulls(
    increments: np.ndarray, draws: int = DRAWS, freedom: float = np.inf
) -> tuple[SurrogateNull, SurrogateNull]:
    """The nulls of level changes and of kinks for a series with these increments (n,), freed of suspected jumps.

    `freedom` below infinity gives the surrogates' increments the tails of a Student distribution.
    """
    count = len(increments)
    bank = contrasts.usable_bank(count + 1)
    amplitude = np.abs(np.fft.rfft(increments))
    amplitude[0] = 0
    spectra = (amplitude * random_phases(count, draws)).astype(np.complex64)
    if np.isfinite(freedom):
        spectra = np.fft.rfft(heavy_tailed(np.fft.irfft(spectra, count, axis=1), freedom), axis=1)
    transfer = contrasts.bank_transfer(count).astype(np.complex64)
    largest = np.empty((len(bank), draws))
    spread = np.empty((len(bank), draws))
    for k, contrast in enumerate(bank):
        estimates = np.fft.irfft(spectra * transfer[k], count, axis=1)[:, : count + 2 - 2 * contrast.half]
        largest[k] = np.abs(estimates).max(axis=1)
        spread[k] = clean_or_floor(estimates, contrast, jumps_expected(count + 1))
    studentized = largest / pooled_spread(spread, count + 1)
    kinks = np.array([contrast.kink for contrast in bank])
    return joint_null(studentized, ~kinks, freedom), joint_null(studentized, kinks, freedom)


def joint_null(studentized: np.ndarray, chosen: np.ndarray, freedom: float) -> SurrogateNull:
    """The null of the largest over the chosen filters; the others have infinite weight, as nothing counts on them."""
    if not chosen.any():
        return SurrogateNull(np.full(len(chosen), np.inf), np.ones(len(studentized[0])), freedom)
    weights = np.where(chosen, np.quantile(studentized, 0.9, axis=1), np.inf)
    return SurrogateNull(weights, np.sort((studentized / weights[:, None]).max(axis=0)), freedom)


def clean_or_floor(estimates: np.ndarray, contrast: contrasts.Contrast, changes: int) -> np.ndarray:
    """Never below what rounding alone gives."""
    return np.maximum(contrasts.clean_spread(estimates, contrast, changes), LOST_BY)


def heavy_tailed(rows: np.ndarray, freedom: float) -> np.ndarray:
    """Gaussian rows mapped to the quantiles of a Student distribution, scaled back to the spread of their middle."""
    from scipy.special import ndtr
    from scipy.stats import t as student

    z = rows / rows.std(axis=1, keepdims=True)
    grid = np.linspace(-6, 6, 241)
    mapped = student.ppf(ndtr(grid), freedom)
    return np.interp(z, grid, mapped / (mapped[130] / grid[130])) * rows.std(axis=1, keepdims=True)
