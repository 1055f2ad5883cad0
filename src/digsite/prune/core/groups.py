"""Groups of neighboring features that are pruned together: what a kernel that skips whole blocks could gain."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from digsite.prune.core.hamming import distance_matrix
from digsite.prune.core.packed import pack

GROUP = 8


@dataclass(frozen=True)
class GroupReport:
    """Counts over (position, group) cells, in one order of the features."""

    order: str
    n_cells: int
    zero_cells: int
    full_cells: int
    unique_rows: int  # distinct patterns of one group over positions, summed over groups

    @property
    def coherence(self) -> float:
        return self.zero_cells / self.n_cells


def cells(keep: Bool[np.ndarray, "features bits"], size: int = GROUP) -> Int[np.ndarray, "groups bits"]:
    """Kept weights in every (group, position) cell; a last incomplete group is left out."""
    whole = len(keep) // size
    return keep[: whole * size].reshape(whole, size, keep.shape[1]).sum(axis=1)


def coherence(keep: Bool[np.ndarray, "features bits"], size: int = GROUP) -> float:
    counts = cells(keep, size)
    return float((counts == 0).mean()) if counts.size else 0.0


def expected_coherence(keep: Bool[np.ndarray, "features bits"], size: int = GROUP) -> float:
    """p^8: what coin flips of the same sparsity give."""
    return float((1 - keep.mean()) ** size)


def report(keep: Bool[np.ndarray, "features bits"], order: str = "natural", size: int = GROUP) -> GroupReport:
    arranged = keep[arrange(keep, order, size)]
    counts = cells(arranged, size)
    patterns = arranged[: len(counts) * size].reshape(len(counts), size, -1)
    unique = sum(len(np.unique(group, axis=1).T) for group in patterns)
    return GroupReport(order, counts.size, int((counts == 0).sum()), int((counts == size).sum()), unique)


ORDERS = ("natural", "density", "hamming")


def arrange(
    keep: Bool[np.ndarray, "features bits"], order: str, size: int = GROUP
) -> Int[np.ndarray, "features"]:
    """A permutation of the features: as they are, by density, or greedily grouped by Hamming distance."""
    assert order in ORDERS, f"unknown order {order!r}"
    if order == "natural":
        return np.arange(len(keep))
    if order == "density":
        return np.argsort(keep.sum(axis=1), kind="stable")
    return _greedy_groups(distance_matrix(pack(keep)), size)


def _greedy_groups(distances: Int[np.ndarray, "n n"], size: int) -> Int[np.ndarray, "n"]:
    """The first free feature and its size - 1 nearest free ones, again and again: every feature once."""
    free = np.ones(len(distances), bool)
    order = []
    while free.any():
        seed = int(np.flatnonzero(free)[0])
        row = np.where(free, distances[seed].astype(np.int64), np.iinfo(np.int64).max)
        row[seed] = -1
        members = np.argsort(row, kind="stable")[: min(size, int(free.sum()))]
        order.extend(members.tolist())
        free[members] = False
    return np.asarray(order)
