"""Can a target be read off an input column? Then a score says nothing, and the report must say so."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from digsite.read.core.metrics import auroc
from digsite.read.core.table import Table
from digsite.read.core.tasks import Task

LIMIT = 0.995


@dataclass(frozen=True)
class Leak:
    task: str
    column: str
    strength: float  # |rank correlation|, or how well the column alone separates two classes (1 = exactly)


def find_leaks(table: Table, targets: dict[str, np.ndarray], tasks: list[Task]) -> list[Leak]:
    """The strongest column of each task, if it alone all but determines the target."""
    ranks = (
        np.apply_along_axis(rankdata, 0, np.nan_to_num(table.values)) if table.values.size else table.values
    )
    found = []
    for task in tasks:
        y = targets[task.name]
        known = np.isfinite(y)
        if known.sum() < 10 or not table.values.size:
            continue
        strength = (
            _rank_correlation(ranks[known], y[known])
            if task.kind == "regression"
            else _separation(table.values[known], y[known].astype(int))
        )
        best = int(np.nanargmax(strength))
        if strength[best] >= LIMIT:
            found.append(Leak(task.name, table.names[best], float(strength[best])))
    return found


def _rank_correlation(ranks: np.ndarray, y: np.ndarray) -> np.ndarray:
    a = ranks - ranks.mean(0)
    b = rankdata(y) - (len(y) + 1) / 2
    scale = np.sqrt((a**2).sum(0) * (b**2).sum())
    return np.abs(np.divide(a.T @ b, scale, out=np.zeros(a.shape[1]), where=scale > 0))


def _separation(values: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Per column: the worst class's one-against-rest AUROC, folded; 1 only if the column tells every class."""
    out = np.ones(values.shape[1])
    for c in np.unique(y):
        areas = np.array([auroc(y == c, np.nan_to_num(column)) for column in values.T])
        out = np.minimum(out, np.maximum(areas, 1 - areas))
    return out
