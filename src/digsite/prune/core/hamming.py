"""Exact Hamming neighbours of one, many or all features of a mask."""

from types import ModuleType

import numpy as np
from jaxtyping import Int

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError
from digsite.prune.core.kernels import engine as engine_for
from digsite.prune.core.packed import PackedMask, features_of

GRAPH_BYTES = 1 << 29  # beyond this a whole distance matrix is not held; queries are answered one by one


def distance_matrix(mask: PackedMask, *, engine: str = "auto") -> Int[np.ndarray, "features features"]:
    """Integer distances between all features."""
    work = mask.words.size * mask.n_features // 2
    return engine_for(engine, work).distance_matrix(mask.words)


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
) -> tuple[Int[np.ndarray, "queries n"], Int[np.ndarray, "queries n"]]:
    """The n nearest features of each query (all features by default): integer distances and indices.

    Ties go to the lower index and a feature is never its own neighbour. A single query gives one row of each.
    """
    packed = features_of(mask, axis)
    wanted = _queries(query, packed.n_features)
    if not 1 <= n < packed.n_features:
        raise UsageError(
            f"Asked for {n} neighbours along the {axis}, but a feature there has {packed.n_features - 1}.",
            hint=f"Ask for 1 to {packed.n_features - 1}.",
        )
    kernels = engine_for(engine, packed.words.size * len(wanted))
    if 2 * len(wanted) > packed.n_features and packed.n_features**2 * 4 <= GRAPH_BYTES:
        graph = kernels.distance_matrix(packed.words)
        values, index = kernels.nearest(graph if query is None else graph[wanted], wanted, n)
    else:
        values, index = _one_by_one(kernels, packed.words, wanted, n)
    return (values[0], index[0]) if query is not None and np.ndim(query) == 0 else (values, index)


def _one_by_one(
    kernels: ModuleType, words: np.ndarray, wanted: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    values = np.empty((len(wanted), n), np.int32)
    index = np.empty((len(wanted), n), np.int32)
    for place, feature in enumerate(wanted):
        row = kernels.row_distances(words[feature], words)
        values[place], index[place] = (
            found[0] for found in kernels.nearest(row[None], wanted[place : place + 1], n)
        )
    return values, index


def _queries(query: int | np.ndarray | None, n_features: int) -> Int[np.ndarray, "queries"]:
    wanted = np.arange(n_features) if query is None else np.atleast_1d(np.asarray(query, dtype=np.int64))
    outside = wanted[(wanted < 0) | (wanted >= n_features)]
    if len(outside):
        raise UsageError(f"There is no feature {outside[0]}; features are 0 to {n_features - 1}.")
    return wanted
