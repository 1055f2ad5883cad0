"""Exact Hamming neighbors of one, many or all features of a mask, and groups of them that are pruned together."""

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Int, Integer

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError
from digsite.prune.core.kernels import pick_engine
from digsite.prune.core.packed import PackedMask, orient_features, pack

GRAPH_BYTES = 1 << 29  # beyond this a whole distance matrix is not held; queries are answered one by one


def measure_distances(mask: PackedMask, *, engine: str = "auto") -> Integer[np.ndarray, "features features"]:
    """Integer distances between all features."""
    work = mask.words.size * mask.n_features // 2
    return pick_engine(engine, work).measure_all(mask.words)


@public_method(
    mask=Numbers(2, arrays_only=False), query=Numbers((0, 1), whole=True, optional=True, arrays_only=False)
)
def neighbours(
    mask: np.ndarray | PackedMask,
    n: int = 128,
    axis: str = "columns",
    query: int | Int[np.ndarray, "queries"] | None = None,
    *,
    engine: str = "auto",
) -> tuple[Int[np.ndarray, "*asked n"], Int[np.ndarray, "*asked n"]]:
    """The n nearest features of each query (all features by default): integer distances and indices.

    Ties go to the lower index and a feature is never its own neighbour. A single query gives one row of each.

    `mask` (out, in) is True where a weight stays, or packed; `axis`: features are its `columns` (inputs) or
    `rows` (outputs); `engine` is auto, compiled or portable, which give the same integers.
    """
    packed = orient_features(mask, axis)
    wanted = _check_queries(query, packed.n_features)
    if not 1 <= n < packed.n_features:
        raise UsageError(
            f"Asked for {n} neighbours along the {axis}, but a feature there has {packed.n_features - 1}.",
            hint=f"Ask for 1 to {packed.n_features - 1}.",
        )
    kernels = pick_engine(engine, packed.words.size * len(wanted))
    if 2 * len(wanted) > packed.n_features and packed.n_features**2 * 4 <= GRAPH_BYTES:
        graph = kernels.measure_all(packed.words)
        values, index = kernels.select_nearest(graph if query is None else graph[wanted], wanted, n)
    else:
        values, index = _one_by_one(kernels, packed.words, wanted, n)
    return (values[0], index[0]) if query is not None and np.ndim(query) == 0 else (values, index)


def _one_by_one(
    kernels: ModuleType, words: np.ndarray, wanted: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """For a few queries: rows of distances, and never the whole matrix."""
    values = np.empty((len(wanted), n), np.int32)
    index = np.empty((len(wanted), n), np.int32)
    for position, feature in enumerate(wanted):
        row = kernels.measure_row(words[feature], words)
        values[position], index[position] = (
            nearest[0] for nearest in kernels.select_nearest(row[None], wanted[position : position + 1], n)
        )
    return values, index


def _check_queries(query: int | np.ndarray | None, n_features: int) -> Int[np.ndarray, "queries"]:
    """Numbers of features that exist; all of them where none is named."""
    wanted = np.arange(n_features) if query is None else np.atleast_1d(np.asarray(query, dtype=np.int64))
    outside = wanted[(wanted < 0) | (wanted >= n_features)]
    if len(outside):
        raise UsageError(f"There is no feature {outside[0]}; features are 0 to {n_features - 1}.")
    return wanted


# Groups of neighboring features that are pruned together: what a kernel that skips whole blocks could gain.

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
        """Share of cells in which nobody keeps anything: what a machine that works in groups could skip."""
        return self.zero_cells / max(self.n_cells, 1)  # fewer features than a group have no cell


def count_cells(keep: Bool[np.ndarray, "features bits"], size: int = GROUP) -> Int[np.ndarray, "groups bits"]:
    """Kept weights in every (group, position) cell; a last incomplete group is left out."""
    whole = len(keep) // size
    return keep[: whole * size].reshape(whole, size, keep.shape[1]).sum(axis=1)


def measure_coherence(keep: Bool[np.ndarray, "features bits"]) -> float:
    """Share of (group, position) cells without a kept weight, for 8 neighboring features each: a byte that is zero."""
    cells = np.packbits(keep[: len(keep) // GROUP * GROUP], axis=0)
    return float((cells.size - np.count_nonzero(cells)) / cells.size) if cells.size else 0.0


def expected_coherence(keep: Bool[np.ndarray, "features bits"], size: int = GROUP) -> float:
    """p^8: what coin flips of the same sparsity give."""
    return float((1 - keep.mean()) ** size)


def report_groups(
    keep: Bool[np.ndarray, "features bits"], order: str = "natural", size: int = GROUP
) -> GroupReport:
    """Features in the given `order`, cut into groups of `size`: empty cells, full cells, and different columns."""
    arranged = keep[arrange_features(keep, order, size)]
    counts = count_cells(arranged, size)
    patterns = arranged[: len(counts) * size].reshape(len(counts), size, keep.shape[1])
    unique = sum(len(np.unique(group, axis=1).T) for group in patterns)
    return GroupReport(order, counts.size, int((counts == 0).sum()), int((counts == size).sum()), unique)


ORDERS = ("natural", "density", "hamming")


def arrange_features(
    keep: Bool[np.ndarray, "features bits"], order: str, size: int = GROUP
) -> Int[np.ndarray, "features"]:
    """A permutation of the features: as they are, by density, or greedily grouped by Hamming distance."""
    assert order in ORDERS, f"unknown order {order!r}"
    if order == "natural":
        return np.arange(len(keep))
    if order == "density":
        return np.argsort(keep.sum(axis=1), kind="stable")
    return _greedy_groups(measure_distances(pack(keep)), size)


def _greedy_groups(distances: Integer[np.ndarray, "n n"], size: int) -> Int[np.ndarray, "n"]:
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
