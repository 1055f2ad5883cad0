"""What a graft did, from logits and labels: transfer, preservation, false calls, separation, intervals."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.base.intervals import Interval, seed_interval


@dataclass(frozen=True)
class GraftScores:
    """All in percent. The last three are other people's definitions of specificity, under their own names."""

    transfer: float
    preservation: float
    foreign_as_new: float
    auc: float  # new against foreign
    auc_old: float  # new against old
    foreign_not_foreign: float  # the framework's: foreign inputs not called foreign
    foreign_accuracy: float  # the legacy one: foreign inputs called foreign
    foreign_not_new: float  # the README's, turned so that higher is better


def measure_margin(logits: Tensor, new: list[int]) -> Tensor:
    """Best new logit minus best other logit (n,): above zero, the image is called new."""
    rest = [c for c in range(logits.shape[1]) if c not in new]
    return logits[:, new].amax(1) - logits[:, rest].amax(1)


def score_logits(
    logits: Tensor, y: Tensor, old: list[int], new: list[int], foreign: list[int]
) -> GraftScores:
    """All scores of one graft from its `logits` (n, outputs) and true labels `y` (n,), given who knows what.

    `old`, `new`, `foreign`: class numbers. A score of a class without images is NaN.
    """
    called, gap = logits.argmax(1), measure_margin(logits, new)
    is_old, is_new, is_foreign = (torch.isin(y, torch.tensor(c, dtype=y.dtype)) for c in (old, new, foreign))
    as_new = torch.isin(called, torch.tensor(new))
    right = called == y
    return GraftScores(
        transfer=_to_percent(right[is_new]),
        preservation=_to_percent(right[is_old]),
        foreign_as_new=_to_percent(as_new[is_foreign]),
        auc=_rank_auc(gap[is_new], gap[is_foreign]),
        auc_old=_rank_auc(gap[is_new], gap[is_old]),
        foreign_not_foreign=_to_percent(~right[is_foreign]),
        foreign_accuracy=_to_percent(right[is_foreign]),
        foreign_not_new=_to_percent(~as_new[is_foreign]),
    )


def _to_percent(hits: Tensor) -> float:
    """The share of true values in percent; NaN of nothing."""
    return 100.0 * hits.float().mean().item() if len(hits) else float("nan")


def _rank_auc(high: Tensor, low: Tensor) -> float:
    """Area under the ROC curve in percent of `high` against `low` margins: 50 where the two cannot be told apart."""
    if not len(high) or not len(low):
        return float("nan")
    truth = np.r_[np.ones(len(high)), np.zeros(len(low))]
    values = torch.cat([high, low]).nan_to_num(0.0).numpy()
    return 100.0 * float(roc_auc_score(truth, values))


def count_called_new(logits: Tensor, y: Tensor, new: list[int]) -> dict[int, float]:
    """Share of every class that is called new, in percent: one row of the F matrix."""
    as_new = torch.isin(logits.argmax(1), torch.tensor(new))
    return {int(c): _to_percent(as_new[y == c]) for c in y.unique()}


def count_confusion(logits: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Counts, true class by called class."""
    flat = y * n_classes + logits.argmax(1).clamp(max=n_classes - 1)
    return torch.bincount(flat, minlength=n_classes**2).reshape(n_classes, n_classes)


def find_shift(logits: Tensor, new: list[int], rate: float) -> float:
    """The constant on the new logits that makes `rate` of these old-class images be called new.

    `logits` (n, outputs): of images that nothing was fitted on. One constant is all that calibration may learn: it moves
    every method to the same false alarms, and no method up in the ranking at any given rate of them.
    """
    if not 0 < rate < 1:
        raise UsageError(f"A false-alarm rate of {rate} is out of range.", hint="Accepted: between 0 and 1.")
    return -float(torch.quantile(measure_margin(logits, new).double(), 1 - rate))


def percent_interval(values: list[float]) -> Interval:
    """Percentages over seeds: their median with the interval that skew and a failed seed leave standing."""
    return seed_interval(values, "median", least=0.0, most=100.0)


def paired_interval(a: list[float], b: list[float]) -> Interval:
    """Differences a - b over the same seeds."""
    assert len(a) == len(b), (len(a), len(b))
    return seed_interval([x - y for x, y in zip(a, b)], "difference")
