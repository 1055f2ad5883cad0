"""Intervals and class sets that hold the truth in 90 % of networks like those of the zoo (split conformal)."""

import math

import numpy as np

LEVEL = 0.9


def margin(residuals: np.ndarray, level: float = LEVEL) -> float:
    """Half-width: the ceil((n + 1) level)-th smallest absolute residual of held-out networks."""
    return _quantile(np.abs(residuals), level)


def threshold(probability_of_truth: np.ndarray, level: float = LEVEL) -> float:
    """Classes at or above this probability form the set (least ambiguous sets)."""
    return 1 - _quantile(1 - probability_of_truth, level)


def _quantile(scores: np.ndarray, level: float) -> float:
    scores = np.sort(scores[np.isfinite(scores)])
    rank = math.ceil((len(scores) + 1) * level)
    return float(scores[rank - 1]) if 0 < rank <= len(scores) else math.inf


def class_sets(probabilities: np.ndarray, at_least: float) -> np.ndarray:
    """(members, classes) booleans; the likeliest class is always in."""
    sets = probabilities >= at_least
    sets[np.arange(len(sets)), probabilities.argmax(1)] = True
    return sets


def covered(y: np.ndarray, value: np.ndarray, half_width: float) -> float:
    known = np.isfinite(y)
    return float((np.abs(y[known] - value[known]) <= half_width).mean())
