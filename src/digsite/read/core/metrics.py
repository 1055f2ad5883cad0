"""Scores of predictions, their bootstrap intervals, and paired differences on the same test models."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from digsite.read.core.tasks import ReadTask

RESAMPLES = 200


@dataclass(frozen=True)
class Score:
    """With the interval of a bootstrap over test networks."""

    value: float
    low: float
    high: float
    n: int


def score_answers(task: ReadTask, y: np.ndarray, answer: np.ndarray) -> dict[str, float]:
    """Every metric of one task. `answer` holds values, or probabilities (members, classes)."""
    if task.is_regression:
        from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

        varied = np.ptp(y) > 0
        return {
            "r2": float(r2_score(y, answer)) if varied and len(y) > 1 else float("nan"),
            "tau": _rank_tau(y, answer),
            "mse": float(mean_squared_error(y, answer)),
            "mae": float(mean_absolute_error(y, answer)),
        }
    y = y.astype(int)
    scores = _from_confusion(_count_confusion(y, answer.argmax(1), answer.shape[1]))
    if answer.shape[1] == 2:
        scores["auroc"] = measure_auroc(y == 1, answer[:, 1])
    return scores


def _rank_tau(y: np.ndarray, answer: np.ndarray) -> float:
    """Kendall's tau; 0 where either side is constant, because a constant ranks nothing."""
    from scipy.stats import kendalltau  # a second of loading, which a reading does not need

    tau = kendalltau(y, answer).statistic if np.ptp(answer) > 0 and np.ptp(y) > 0 else 0.0
    return float(tau)


def measure_auroc(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve of `score` (n,) for booleans `positive` (n,), as a Mann-Whitney statistic.

    Faster than scikit-learn's curve, which counts in a bootstrap; NaN where one of the two kinds is missing.
    """
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if n_pos == 0 or n_neg == 0:
        return float("nan")
    from scipy.stats import rankdata

    return float((rankdata(score)[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def _count_confusion(y: np.ndarray, guess: np.ndarray, classes: int) -> np.ndarray:
    """(true, guessed)."""
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


def bootstrap_scores(
    task: ReadTask, y: np.ndarray, answer: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES
) -> dict[str, Score]:
    """Each metric with its 95 % percentile-bootstrap interval over test models.

    `y` (models,) and `answer` (models,) or (models, classes); `rng` draws the resamples, the same for all methods that
    are given the same stream.
    """
    value = score_answers(task, y, answer)
    drawn = [score_answers(task, y[i], answer[i]) for i in _draw_resamples(len(y), rng, resamples)]
    return {
        name: Score(v, *_percentile_bounds([d.get(name, np.nan) for d in drawn]), len(y))
        for name, v in value.items()
    }


def bootstrap_difference(
    task: ReadTask,
    y: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    metric: str,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Score:
    """How much better `first` is than `second` on the same models, resampled together: the interval of the difference."""
    drawn = [
        score_answers(task, y[i], first[i])[metric] - score_answers(task, y[i], second[i])[metric]
        for i in _draw_resamples(len(y), rng, resamples)
    ]
    value = score_answers(task, y, first)[metric] - score_answers(task, y, second)[metric]
    return Score(value, *_percentile_bounds(drawn), len(y))


def _draw_resamples(n: int, rng: np.random.Generator, count: int) -> np.ndarray:
    """Rows with replacement, the same for every reader, so that differences are paired."""
    return rng.integers(0, n, (count, n))


def _percentile_bounds(values: list[float]) -> tuple[float, float]:
    """NaN where no resample gave a number."""
    finite = np.array([v for v in values if np.isfinite(v)])
    if not finite.size:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def main_metrics(task: ReadTask) -> tuple[str, ...]:
    """What becomes a claim: ranking and fit of numbers; hits, and the curve where there are two classes."""
    if task.is_regression:
        return ("r2", "tau")
    return ("accuracy", "auroc") if len(task.classes) == 2 else ("accuracy",)


def flatten_scores(scores: Mapping[str, Score]) -> dict[str, float]:
    """{"r2": ..., "r2_low": ..., "r2_high": ...} for a row of a table."""
    out = {}
    for name, s in scores.items():
        out |= {name: s.value, f"{name}_low": s.low, f"{name}_high": s.high}
    return out
