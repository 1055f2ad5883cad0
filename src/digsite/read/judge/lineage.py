"""Which model was made from which: distances say who is related, zeros, levels and tails say in which direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import networkx as nx
import numpy as np
from scipy.stats import kurtosis

from digsite.base.errors import UsageError

RELATED = 0.9  # distance over the joint norm; independent networks lie at 1
_LEVELS = 300  # a tensor of fewer different values was quantized
_MERGED = 0.05  # a merge is off the middle of its parents by less than this share of their distance


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
    merged = _merges(flat, distances)
    made = {child for child, *_ in merged}
    own = [i for i in range(len(flat)) if i not in made]
    graph = nx.DiGraph()
    graph.add_nodes_from([-1, *own])
    for i in own:
        graph.add_edge(-1, i, weight=RELATED + 1e-3 * _lateness(i, zeros, levels, tails))
        for j in own:
            if i != j and distances[i, j] < RELATED:
                graph.add_edge(i, j, weight=distances[i, j] + _uphill(i, j, zeros, levels, tails))
    tree = nx.minimum_spanning_arborescence(graph)
    edges = [_edge(i, j, distances, zeros, levels) for i, j in tree.edges if i >= 0]
    edges += [Edge(p, c, "merged", float(distances[p, c])) for c, *parents in merged for p in parents]
    return Lineage(tuple(j for i, j in tree.edges if i < 0), tuple(edges), distances)


def _merges(flat: np.ndarray, distances: np.ndarray) -> list[tuple[int, int, int]]:
    """(child, one, other) where a model lies at the middle of two others, far nearer than they are to each other."""
    found = []
    for c in range(len(flat)):
        for a, b in combinations([i for i in range(len(flat)) if i != c and distances[i, c] < RELATED], 2):
            apart = np.linalg.norm(flat[a] - flat[b])
            if np.linalg.norm(flat[c] - (flat[a] + flat[b]) / 2) < _MERGED * apart:
                found.append((c, a, b))
                break
    return found


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
