"""Effects with intervals over seeds and a permutation p: yes, no, or not decidable with this power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from digsite.base.intervals import FEWEST, seed_interval

Answer = Literal["yes", "no", "not decidable with this power"]
EXACT = 12  # up to this many seeds all sign flips are counted


@dataclass(frozen=True)
class Effect:
    """Median over independent units, its 95 % interval, and the p of a sign-flip test against zero."""

    value: float
    low: float
    high: float
    p: float
    n: int

    def answer(self, smallest: float) -> Answer:
        """Yes when clearly beyond zero, no when the interval excludes every effect of interest."""
        if self.p < 0.05 and self.low * self.high > 0:
            return "yes"
        if self.n > 1 and max(abs(self.low), abs(self.high)) < smallest:
            return "no"
        return "not decidable with this power"


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p corrected for all of them, so that one false "yes" in the whole table happens in 5 % of tables at most."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def effect(values: Sequence[float], rng: np.random.Generator) -> Effect:
    """One value per seed; fewer than two have no interval."""
    x = np.asarray([v for v in values if np.isfinite(v)], dtype=float)
    if len(x) == 0:
        return Effect(float("nan"), float("-inf"), float("inf"), 1.0, 0)
    over = seed_interval(x.tolist(), "difference")
    if len(x) == 1:
        return Effect(over.value, float("-inf"), float("inf"), 1.0, 1)
    if over.low is None or over.high is None:  # too few units, or units that agree: the test alone speaks
        low, high = (float(x.min()), float(x.max())) if len(x) >= FEWEST else (float("-inf"), float("inf"))
        return Effect(over.value, low, high, _sign_flip(x, rng), len(x))
    return Effect(over.value, over.low, over.high, _sign_flip(x, rng), len(x))


def _sign_flip(x: np.ndarray, rng: np.random.Generator) -> float:
    if len(x) <= EXACT:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(x))))
        return float(np.mean(np.abs(signs @ x) >= abs(x.sum()) - 1e-12))
    signs = rng.choice([-1.0, 1.0], size=(5000, len(x)))
    return float((1 + np.sum(np.abs(signs @ x) >= abs(x.sum()) - 1e-12)) / 5001)


def contrast(
    left: Sequence[float], right: Sequence[float], rng: np.random.Generator, draws: int = 5000
) -> Effect:
    """Difference of two groups' means with Welch's interval and a permutation p."""
    from scipy.stats import ttest_ind

    a, b = (np.asarray([v for v in side if np.isfinite(v)], dtype=float) for side in (left, right))
    if min(len(a), len(b)) < 2:
        value = float(a.mean() - b.mean()) if len(a) and len(b) else float("nan")
        return Effect(value, float("-inf"), float("inf"), 1.0, min(len(a), len(b)))
    value = float(a.mean() - b.mean())
    if a.std() == 0 and b.std() == 0:
        interval = (value, value)
    else:
        found = ttest_ind(a, b, equal_var=False).confidence_interval()
        interval = (float(found.low), float(found.high))
    both = np.r_[a, b]
    shuffled = rng.permuted(np.tile(both, (draws, 1)), axis=1)
    null = np.abs(shuffled[:, : len(a)].mean(1) - shuffled[:, len(a) :].mean(1))
    p = (1 + np.sum(null >= abs(value) - 1e-12)) / (draws + 1)
    return Effect(value, *interval, float(p), min(len(a), len(b)))
