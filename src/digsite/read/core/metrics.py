"""Scores of predictions, their bootstrap intervals, and paired differences on the same test models."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, rankdata
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from digsite.read.core.tasks import Task

RESAMPLES = 200


@dataclass(frozen=True)
class Score:
    value: float
    low: float
    high: float
    n: int


def score(task: Task, y: np.ndarray, answer: np.ndarray) -> dict[str, float]:
    """Every metric of one task. `answer` holds values, or probabilities (members, classes)."""
    if task.kind == "regression":
        varied = np.ptp(y) > 0
        return {
            "r2": float(r2_score(y, answer)) if varied and len(y) > 1 else float("nan"),
            "tau": _tau(y, answer),
            "mse": float(mean_squared_error(y, answer)),
            "mae": float(mean_absolute_error(y, answer)),
        }
    y = y.astype(int)
    scores = _from_confusion(_confusion(y, answer.argmax(1), answer.shape[1]))
    if answer.shape[1] == 2:
        scores["auroc"] = auroc(y == 1, answer[:, 1])
    return scores


def _tau(y: np.ndarray, answer: np.ndarray) -> float:
    tau = kendalltau(y, answer).statistic if np.ptp(answer) > 0 and np.ptp(y) > 0 else 0.0
    return float(tau)


def auroc(positive: np.ndarray, score: np.ndarray) -> float:
    """Mann-Whitney; faster than scikit-learn's curve, which counts in a bootstrap."""
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if n_pos == 0 or n_neg == 0:
        return float("nan")
    return float((rankdata(score)[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def _confusion(y: np.ndarray, guess: np.ndarray, classes: int) -> np.ndarray:
    return (
        np.bincount(y * classes + guess, minlength=classes * classes).reshape(classes, classes).astype(float)
    )


def _from_confusion(table: np.ndarray) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 weighted by class size; 0 where a class is never guessed."""
    hit, true, said = table.diagonal(), table.sum(1), table.sum(0)
    precision = np.divide(hit, said, out=np.zeros_like(hit), where=said > 0)
    recall = np.divide(hit, true, out=np.zeros_like(hit), where=true > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(hit), where=both > 0)
    weight = true / true.sum()
    return {
        "accuracy": float(hit.sum() / table.sum()),
        "precision": float(precision @ weight),
        "recall": float(recall @ weight),
        "f1": float(f1 @ weight),
    }


def intervals(
    task: Task, y: np.ndarray, answer: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES
) -> dict[str, Score]:
    """Each metric with its 95 % percentile-bootstrap interval over test models."""
    value = score(task, y, answer)
    drawn = [score(task, y[i], answer[i]) for i in _resamples(len(y), rng, resamples)]
    return {
        name: Score(v, *_bounds([d.get(name, np.nan) for d in drawn]), len(y)) for name, v in value.items()
    }


def paired(
    task: Task,
    y: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    metric: str,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Score:
    """How much better `first` is than `second` on the same models, resampled together."""
    drawn = [
        score(task, y[i], first[i])[metric] - score(task, y[i], second[i])[metric]
        for i in _resamples(len(y), rng, resamples)
    ]
    value = score(task, y, first)[metric] - score(task, y, second)[metric]
    return Score(value, *_bounds(drawn), len(y))


def _resamples(n: int, rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, n, (count, n))


def _bounds(values: list[float]) -> tuple[float, float]:
    finite = np.array([v for v in values if np.isfinite(v)])
    if not finite.size:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def main_metrics(task: Task) -> tuple[str, ...]:
    """What becomes a claim: ranking and fit of numbers; hits, and the curve where there are two classes."""
    if task.kind == "regression":
        return ("r2", "tau")
    return ("accuracy", "auroc") if len(task.classes) == 2 else ("accuracy",)


def flat(scores: Mapping[str, Score]) -> dict[str, float]:
    out = {}
    for name, s in scores.items():
        out |= {name: s.value, f"{name}_low": s.low, f"{name}_high": s.high}
    return out
