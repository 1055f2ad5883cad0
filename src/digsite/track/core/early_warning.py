"""Is a transition under way that accuracy does not show yet? Scores from training series alone, each from what is known so far.

While the test accuracy stands still weights go on: what moves is the norm, the ranks, the training loss by orders of magnitude. The score is a
linear one over logarithms of such measures: their change since the start, below their peak, and over the last fifth of the time so far. None of
them has a unit of time, so that a score learned at one pace can be asked at another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

FIRST = 2  # samples that are passed over: the first steps of any optimizer move everything
BACK = 0.8  # of the present step: the start of the recent change
RIDGE = 1.0  # per example, on standardized features
DELAYS, RANK, WINDOW = 5, 3, 20  # of the rival by dynamic modes: delays, modes, samples


@dataclass(frozen=True)
class WarningModel:
    """A linear score over standardized features, the threshold of an alarm, and the names it was learned from."""

    names: tuple[str, ...]
    center: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float
    threshold: float = float("inf")

    def score_features(self, features: Float[np.ndarray, "n f"]) -> Float[np.ndarray, " n"]:
        """Log odds that a transition is under way; features: as `online_features` makes them, nan where there is no past."""
        return ((features - self.center) / self.scale) @ self.weights + self.bias


def online_features(
    steps: Float[np.ndarray, " n"], measures: Mapping[str, Float[np.ndarray, " n"]]
) -> Float[np.ndarray, "n f"]:
    """Three features per measure at every sample, of the past alone; the first rows, where there is no past, are nan.

    steps: of the samples. measures: positive curves by name. The features are logarithms: the change since the first scored
    sample, the way below the highest value so far, and the change over the last fifth of the time.
    """
    logs = np.stack([np.log(np.maximum(v, 1e-12)) for v in measures.values()], 1)
    out = np.full((len(steps), 3 * len(measures)), np.nan)
    peak = np.maximum.accumulate(logs[FIRST:], 0)
    for i in range(FIRST + 1, len(steps)):
        back = min(max(int(np.searchsorted(steps, steps[i] * BACK)), FIRST), i - 1)
        now = logs[i]
        out[i] = np.concatenate([now - logs[FIRST], now - peak[i - FIRST], now - logs[back]])
    return out


def learn_warning(
    features: Sequence[Float[np.ndarray, "n f"]],
    under_way: Sequence[Float[np.ndarray, " n"]],
    names: Sequence[str],
) -> WarningModel:
    """Ridge logistic regression over samples of several runs, each run with the same total weight.

    features: one table per run. under_way: 1 where a transition is under way, 0 where none will come, nan where the sample is
    not to be learned from. names: of the measures.
    """
    chosen = [np.isfinite(u) & np.isfinite(f).all(1) for f, u in zip(features, under_way, strict=True)]
    x = np.concatenate([f[c] for f, c in zip(features, chosen)])
    y = np.concatenate([u[c] for u, c in zip(under_way, chosen)])
    weight = np.concatenate([np.full(c.sum(), 1 / max(c.sum(), 1)) for c in chosen])
    # Both answers weigh the same, however many runs there are of each.
    weight = np.where(y > 0, weight / weight[y > 0].sum(), weight / weight[y == 0].sum()) * len(features) / 2
    center = np.average(x, axis=0, weights=weight)
    scale = np.sqrt(np.average((x - center) ** 2, axis=0, weights=weight)) + 1e-9
    z = np.c_[(x - center) / scale, np.ones(len(x))]
    beta = np.zeros(z.shape[1])
    ridge = RIDGE * np.r_[np.ones(z.shape[1] - 1), 1e-6]
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(z @ beta, -30, 30)))
        gradient = z.T @ (weight * (y - p)) - ridge * beta
        hessian = (z * (weight * p * (1 - p))[:, None]).T @ z + np.diag(ridge)
        beta = beta + np.linalg.solve(hessian, gradient)
    return WarningModel(tuple(names), center, scale, beta[:-1], float(beta[-1]))


def choose_threshold(scores: Sequence[Float[np.ndarray, " n"]], share: float = 0.05) -> float:
    """The level that the sustained maximum of at most this share of runs without a transition exceeds.

    scores: of such runs. As a new run is one more of them, the level lies above all but share x (runs + 1) - 1 of them, and a quarter
    of their spread higher, since the score was learned on them.
    """
    highs = np.array([sustained_high(s) for s in scores])
    highs = np.sort(highs[np.isfinite(highs)])
    allowed = max(int(share * (len(highs) + 1)) - 1, 0)
    return float(highs[-1 - allowed] + 0.25 * (highs.std() + 1e-9))


def sustained_high(scores: Float[np.ndarray, " n"]) -> float:
    """The largest level that two neighboring samples reach; -inf for a run that was never scored."""
    pairs = np.minimum(scores[1:], scores[:-1])
    return float(np.nanmax(pairs)) if np.isfinite(pairs).any() else float("-inf")


def first_alarm(
    steps: Float[np.ndarray, " n"], scores: Float[np.ndarray, " n"], threshold: float
) -> float | None:
    """The step of the second of the first two neighboring samples above the threshold; None without an alarm."""
    above = np.nan_to_num(scores, nan=-np.inf) > threshold
    both = np.flatnonzero(above[1:] & above[:-1])
    return float(steps[both[0] + 1]) if len(both) else None


def mode_residual(values: Float[np.ndarray, "n q"], *, window: int = WINDOW) -> Float[np.ndarray, " n"]:
    """The published rival: how badly a few dynamic modes of a delay embedding continue the last samples, at each sample.

    values: logarithms of measures. For each window the Hankel matrix of DELAYS delays is projected on its RANK leading
    directions, the linear map from one column to the next is fitted, and its relative error is the residual.
    """
    out = np.full(len(values), np.nan)
    for i in range(window, len(values) + 1):
        piece = values[i - window : i]
        piece = (piece - piece.mean(0)) / (piece.std(0) + 1e-9)
        hankel = np.stack([piece[k : k + DELAYS].ravel() for k in range(window - DELAYS + 1)], 1)
        left = np.linalg.svd(hankel, full_matrices=False)[0][:, :RANK]
        low = left.T @ hankel
        step = low[:, 1:] @ np.linalg.pinv(low[:, :-1])
        out[i - 1] = np.linalg.norm(hankel[:, 1:] - left @ step @ low[:, :-1]) / np.linalg.norm(hankel[:, 1:])
    return out
