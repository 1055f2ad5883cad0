"""Effects with intervals over seeds and a permutation p: yes, no, or not decidable with this power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from digsite.base.intervals import student

Answer = Literal["yes", "no", "not decidable with this power"]
EXACT = 12  # up to this many seeds all sign flips are counted


@dataclass(frozen=True)
class Effect:
    """Mean over independent units, its 95 % t interval, and the p of a sign-flip test against zero."""

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


def effect(values: Sequence[float], rng: np.random.Generator) -> Effect:
    """One value per seed; fewer than two have no interval."""
    x = np.asarray([v for v in values if np.isfinite(v)], dtype=float)
    if len(x) == 0:
        return Effect(float("nan"), float("-inf"), float("inf"), 1.0, 0)
    mean, low, high = student(x.tolist())
    if low is None or high is None:
        return Effect(mean, float("-inf"), float("inf"), 1.0, 1)
    return Effect(mean, low, high, _sign_flip(x, rng), len(x))


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
