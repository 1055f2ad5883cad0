"""Components that act together, found by merging groups while the description of when they act gets shorter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Bools = NDArray[np.bool_]
Label = tuple[str, int]  # module, component


@dataclass(frozen=True)
class Clustering:
    """Groups of components across modules, largest first, and the description length before and after."""

    groups: list[list[Label]]
    bits_apart: float
    bits: float

    def group_of(self, label: Label) -> int:
        return next(i for i, group in enumerate(self.groups) if label in group)


def cluster(importance: dict[str, Tensor], *, threshold: float = 0.1, alpha: float = 1.0) -> Clustering:
    """Group the components of all modules by when they act.

    Describing one position costs, for every group that acts there, log2(number of groups) bits to name it and `alpha`
    for each component that it brings in. Merging two groups saves names where they act together and wastes components
    where only one of them is needed.
    """
    labels, acts = active(importance, threshold)
    members, bits_apart, bits = merge(acts, alpha)
    groups = [[labels[i] for i in group] for group in members]
    return Clustering(sorted(groups, key=len, reverse=True), bits_apart, bits)


def active(importance: dict[str, Tensor], threshold: float) -> tuple[list[Label], Bools]:
    """Which components act at which positions; those that never do are left out."""
    labels, columns = [], []
    for module, values in importance.items():
        on = (values.flatten(0, -2) > threshold).cpu().numpy()
        for c in np.flatnonzero(on.any(0)):
            labels.append((module, int(c)))
            columns.append(on[:, c])
    return labels, np.stack(columns, 1) if columns else np.zeros((0, 0), dtype=bool)


def description_length(counts: NDArray[np.float64], ranks: NDArray[np.float64], alpha: float) -> float:
    """Bits for all positions: counts[i] positions use group i, which has ranks[i] components."""
    return float((counts * (np.log2(max(len(counts), 1)) + alpha * ranks)).sum())


def merge(acts: Bools, alpha: float) -> tuple[list[list[int]], float, float]:
    """Greedily merge the best pair of columns as long as the description gets shorter."""
    groups = [[i] for i in range(acts.shape[1])]
    columns = acts.astype(np.float64)
    apart = best = description_length(columns.sum(0), np.ones(len(groups)), alpha)
    while len(groups) > 1:
        ranks = np.array([len(group) for group in groups], dtype=float)
        i, j, length = _best_pair(columns, ranks, alpha)
        if length >= best:
            break
        best = length
        groups[i] += groups.pop(j)
        columns[:, i] = np.maximum(columns[:, i], columns[:, j])
        columns = np.delete(columns, j, axis=1)
    return groups, apart, best


def _best_pair(
    columns: NDArray[np.float64], ranks: NDArray[np.float64], alpha: float
) -> tuple[int, int, float]:
    """The description length after each possible merge, in closed form from counts of joint activity."""
    together, counts, n = columns.T @ columns, columns.sum(0), len(ranks)
    name = np.log2(n - 1) if n > 1 else 0.0
    either = counts[:, None] + counts[None] - together
    own = counts * (name + alpha * ranks)
    length = own.sum() - own[:, None] - own[None] + either * (name + alpha * (ranks[:, None] + ranks[None]))
    length[np.tril_indices(n)] = np.inf
    i, j = np.unravel_index(int(length.argmin()), length.shape)
    return int(i), int(j), float(length[i, j])
