"""What trivial methods would say: a constant, the hyper-parameters alone, or accuracy on a few labeled images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import kendalltau
from sklearn.metrics import r2_score
from torch import Tensor

from digsite.read.core import trees
from digsite.read.core.corpus import Corpus, read_labels
from digsite.read.core.population import Population
from digsite.read.core.readers.probe import run_group
from digsite.read.core.tasks import ReadTask

HYPER = (
    "init",
    "init_scale",
    "optimizer",
    "lr",
    "weight_decay",
    "dropout",
    "batch",
    "steps",
    "fraction",
    "label_noise",
    "activation",
    "kind",
    "dataset",
    "missing_class",
    "poisoned",
    "trigger_target",
)
# A task's own column, and those that would give it away, are not hyper-parameters for that task.
_OWN: Mapping[str, tuple[str, ...]] = {
    "log_lr": ("lr",),
    "log_effective_lr": ("lr",),
    "log_weight_decay": ("weight_decay",),
    "dropout": ("dropout",),
    "label_noise": ("label_noise",),
    "noisy_labels": ("label_noise",),
    "train_fraction": ("fraction",),
    "missing_class": ("missing_class",),
    "backdoor": ("poisoned", "trigger_target"),
    "family": ("kind",),
    "init": ("init", "init_scale"),
}
COUNTS = (2, 4, 8, 16, 32, 64, 128)


def answer_constant(task: ReadTask, train: Corpus, n: int) -> np.ndarray:
    """The mean, or the class shares, of the training networks: (n,) or (n, classes)."""
    y = read_labels(train, task)
    y = y[np.isfinite(y)]
    if task.is_regression:
        return np.full(n, y.mean())
    shares = np.bincount(y.astype(int), minlength=len(task.classes)) / len(y)
    return np.broadcast_to(shares, (n, len(shares))).copy()


def hyper_parameters(task: ReadTask, train: Corpus, test: Corpus, seed: int) -> np.ndarray:
    """Trees on how the networks were trained, without a look at the weights: what a table of settings tells by itself.

    A reader that does no better has read nothing. Columns that would give a task away are not shown to it.
    """
    columns = [c for c in HYPER if c in train.labels and c not in (task.name, *_OWN.get(task.name, ()))]
    both: Any = pd.concat([train.labels[columns], test.labels[columns]])
    x = np.column_stack([_code_column(both[c]) for c in columns]) if columns else np.zeros((len(both), 1))
    y = read_labels(train, task)
    known = np.isfinite(y)
    train_x, test_x = x[: len(train)][known], x[len(train) :]
    if task.is_regression:
        return trees.grow_regression(train_x, y[known], seed).raw(test_x)[:, 0]
    forest = trees.grow_classes(train_x, y[known].astype(int), seed, max_iter=60)
    return _all_classes(trees.class_probabilities(forest, test_x), y[known], len(task.classes))


def _all_classes(probabilities: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    """A column for classes too that training never saw."""
    seen = np.unique(y.astype(int))
    out = np.zeros((len(probabilities), n_classes))
    out[:, seen] = probabilities[:, : len(seen)]
    return out


def _code_column(column: pd.Series) -> np.ndarray:
    """Words as numbers, for trees."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column.to_numpy(dtype=float)
    return column.astype("category").cat.codes.to_numpy(dtype=float)


@torch.no_grad()
def mark_correct(population: Population, images: Tensor, classes: Tensor) -> np.ndarray:
    """(members, images) booleans, was each image named rightly: the networks are run."""
    return population.gather(
        (run_group(group, images).argmax(2) == classes).numpy() for group in population.groups
    )


def labeled_images(
    correct: np.ndarray, accuracy: np.ndarray, rng: np.random.Generator, draws: int = 12
) -> dict[int, float]:
    """Kendall tau of accuracy measured on k labeled images, the same for all networks, by k.

    `correct` (members, images) booleans; `accuracy` (members,) is the truth; each k is the mean over `draws` choices.
    """
    taus = {}
    for k in (c for c in COUNTS if c <= correct.shape[1]):
        drawn = [
            kendalltau(correct[:, rng.choice(correct.shape[1], k, replace=False)].mean(1), accuracy).statistic
            for _ in range(draws)
        ]
        taus[k] = float(np.nanmean(drawn))
    return taus


def momentum_ceiling(labels: pd.DataFrame) -> dict[str, float]:
    """Best scores of a reader that knows everything but whether a step was plain SGD's or one of momentum 0.9.

    Both add up to the same weights when momentum's rate is a tenth of SGD's; only rates outside of the range that the
    two share then tell which it was. Empty where a zoo lacks one of them.
    """
    if not {"optimizer", "log_lr", "log_effective_lr"} <= set(labels):
        return {}
    optimizer, rate, steps = (labels[c].to_numpy() for c in ("optimizer", "log_lr", "log_effective_lr"))
    plain, heavy = optimizer == "sgd", optimizer == "momentum"
    if not plain.any() or not heavy.any():
        return {}
    low, high = (f([g(steps[m]) for m in (plain, heavy)]) for f, g in ((max, np.min), (min, np.max)))
    unclear = (plain | heavy) & (steps >= low) & (steps <= high)
    share = float(heavy[unclear].mean()) if unclear.any() else 0.0
    guess = np.where(unclear, steps - share, rate)
    return {
        "log_lr/r2": float(r2_score(rate, guess)),
        "optimizer/accuracy": float(1 - unclear.mean() * min(share, 1 - share)),
    }


def count_worth(tau: float, by_count: Mapping[int, float]) -> float:
    """How many labeled images rank the networks as well; between the measured counts, linear in log k."""
    counts, taus = np.array(list(by_count)), np.maximum.accumulate(np.array(list(by_count.values())))
    if tau <= taus[0]:
        return float(counts[0]) * max(tau, 0.0) / taus[0] if taus[0] > 0 else 0.0
    return float(np.exp(np.interp(tau, taus, np.log(counts))))
