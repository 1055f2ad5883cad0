"""Which model was made from which: distances say who is related, zeros, levels and tails say in which direction."""

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from scipy.stats import kurtosis

from digsite.base.errors import UsageError

RELATED = 0.9  # distance over the joint norm; independent networks lie at 1
_LEVELS = 300  # a tensor of fewer different values was quantized
_MERGED = 0.25  # a merge lies this much nearer to the mean of two models than to either


@dataclass(frozen=True)
class Edge:
    parent: int
    child: int
    how: str  # fine-tuned | pruned | quantized | merged
    distance: float


@dataclass(frozen=True)
class Lineage:
    roots: tuple[int, ...]
    edges: tuple[Edge, ...]
    distances: np.ndarray


def lineage(weights: Sequence[np.ndarray]) -> Lineage:
    """`weights` are flat parameters of models of one shape."""
    if len({len(w) for w in weights}) > 1:
        raise UsageError(
            "lineage compares models of one shape, and these have different numbers of parameters."
        )
    flat = np.stack(weights).astype(np.float64)
    distances = _distances(flat)
    zeros = (flat == 0).mean(1)
    levels = np.array([len(np.unique(row[row != 0])) for row in flat])
    tails = np.array([kurtosis(row[row != 0]) if (row != 0).any() else 0.0 for row in flat])
    graph = nx.DiGraph()
    graph.add_nodes_from(range(-1, len(flat)))
    for i in range(len(flat)):
        graph.add_edge(-1, i, weight=RELATED + 1e-3 * _lateness(i, zeros, levels, tails))
        for j in range(len(flat)):
            if i != j and distances[i, j] < RELATED:
                graph.add_edge(i, j, weight=distances[i, j] + _uphill(i, j, zeros, levels, tails))
    tree = nx.minimum_spanning_arborescence(graph)
    edges = [_edge(i, j, distances, zeros, levels) for i, j in tree.edges if i >= 0]
    merged = [_merge(e, flat, distances) for e in edges]
    return Lineage(
        tuple(j for i, j in tree.edges if i < 0), tuple(e for pair in merged for e in pair), distances
    )


def _distances(flat: np.ndarray) -> np.ndarray:
    square = (flat**2).sum(1)
    gram = flat @ flat.T
    gap = np.clip(square[:, None] + square[None] - 2 * gram, 0, None)
    return np.sqrt(gap / np.maximum(square[:, None] + square[None], 1e-300))


def _lateness(i: int, zeros: np.ndarray, levels: np.ndarray, tails: np.ndarray) -> float:
    """In [0, 1): pruned and quantized models are nobody's origin; then those with lighter tails come later."""
    rank = np.argsort(np.argsort(-tails))[i] / len(tails)
    return (2.0 * (zeros[i] > zeros.min() + 0.01) + 2.0 * (levels[i] < _LEVELS) + rank) / 5.0


def _uphill(i: int, j: int, zeros: np.ndarray, levels: np.ndarray, tails: np.ndarray) -> float:
    """A penalty for going from later to earlier."""
    return 0.02 * max(0.0, _lateness(i, zeros, levels, tails) - _lateness(j, zeros, levels, tails)) + (
        1.0 * (zeros[i] > zeros[j] + 0.01) + 1.0 * (levels[i] < _LEVELS <= levels[j])
    )


def _edge(i: int, j: int, distances: np.ndarray, zeros: np.ndarray, levels: np.ndarray) -> Edge:
    how = "fine-tuned"
    if levels[j] < _LEVELS <= levels[i]:
        how = "quantized"
    elif zeros[j] > zeros[i] + 0.01:
        how = "pruned"
    return Edge(i, j, how, float(distances[i, j]))


def _merge(edge: Edge, flat: np.ndarray, distances: np.ndarray) -> list[Edge]:
    """A second parent, if the child lies much nearer to the mean of two models than to its one parent."""
    if edge.how != "fine-tuned":
        return [edge]
    child, size = flat[edge.child], np.linalg.norm(flat[edge.child])
    alone = np.linalg.norm(child - flat[edge.parent]) / size
    best, gap = -1, np.inf
    for k in range(len(flat)):
        if k not in (edge.parent, edge.child) and distances[k, edge.child] < RELATED:
            found = np.linalg.norm(child - (flat[edge.parent] + flat[k]) / 2) / size
            best, gap = (k, found) if found < gap else (best, gap)
    if best < 0 or gap > _MERGED * alone:
        return [edge]
    other = Edge(best, edge.child, "merged", float(distances[best, edge.child]))
    return [Edge(edge.parent, edge.child, "merged", edge.distance), other]
