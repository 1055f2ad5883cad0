"""What two related networks show of who came first, and of what was done: numbers from their weights, named.

Direction features change their sign when the pair is turned round, so that a rule learned from them has no favorite
side. Features of the kind describe the change itself.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from digsite.read.subjects.network import Network

DIRECTION = (
    "norm",
    "head_norm",
    "vector_norm",
    "tail",
    "rank",
    "top",
    "reach",
    "balance",
    "bulk",
    "row_spread",
    "column_spread",
    "first_tail",
)
KIND = (
    "distance",
    "growth",
    "along",
    "last_to_first",
    "vectors",
    "rank_of_change",
    "tail_of_change",
    "spread_of_layers",
    "head_spread",
    "one_class_change",
    "one_class_mean",
)
_RANK = 256  # singular values of at most this many rows and columns are computed


@dataclass(frozen=True)
class Portrait:
    """Of one network: numbers by matrix, each of which training moves in one direction more often than in the other."""

    norms: dict[str, float]
    tails: dict[str, float]
    ranks: dict[str, float]
    tops: dict[str, float]  # log share of the first singular value
    bulks: dict[str, float]  # log of the median singular value: what is left of the random start
    rows: dict[str, float]  # standard deviation of the log norms of the rows: all alike at the start
    columns: dict[str, float]
    bases: dict[str, Tensor]  # leading left singular vectors, as many as hold half of the energy
    vector_norm: float


def draw_portrait(network: Network) -> Portrait:
    """Numbers of one network by matrix; drawn once for each network and compared for each pair."""
    norms, tails, ranks, tops, bases, bulks, rows, columns = {}, {}, {}, {}, {}, {}, {}, {}
    for name in network.matrices:
        matrix = thin_matrix(network.weights[name])
        norms[name] = float(matrix.norm().clamp_min(1e-12).log())
        flat = matrix.flatten()
        flat = flat[flat != 0] if bool((flat != 0).any()) else flat
        tails[name] = float(
            ((flat - flat.mean()) ** 4).mean() / ((flat - flat.mean()) ** 2).mean().square().clamp_min(1e-30)
        )
        u, s, _ = torch.linalg.svd(matrix, full_matrices=False)
        share = s.square() / s.square().sum().clamp_min(1e-30)
        ranks[name] = float(-(share * share.clamp_min(1e-30).log()).sum())
        tops[name] = float(share[0].clamp_min(1e-12).log())
        bulks[name] = float(s.median().clamp_min(1e-9).log())
        rows[name], columns[name] = (
            float(matrix.norm(dim=d).clamp_min(1e-6).log().std(unbiased=False)) for d in (1, 0)
        )
        bases[name] = u[:, : 1 + int((share.cumsum(0) < 0.5).sum())]
    vectors = [t.double().square().sum() for t in network.weights.values() if t.ndim == 1]
    return Portrait(
        norms,
        tails,
        ranks,
        tops,
        bulks,
        rows,
        columns,
        bases,
        float(torch.stack(vectors).sum().clamp_min(1e-12).log() / 2) if vectors else 0.0,
    )


def thin_matrix(weight: Tensor) -> Tensor:
    """(rows, columns) in float64, evenly thinned to a size whose singular values cost little."""
    matrix = weight.flatten(1)
    for axis in (0, 1):
        if matrix.shape[axis] > _RANK:
            matrix = matrix.index_select(axis, torch.linspace(0, matrix.shape[axis] - 1, _RANK).long())
    return matrix.double()


def direction_features(first: Network, second: Network, portrait: Portrait, other: Portrait) -> np.ndarray:
    """(12,): positive where `second` looks like the later one, if training on makes weights larger and less random.

    `portrait`, `other` are the portraits of `first` and `second`; matrices weigh by the root of their size.
    """
    common = [
        k for k in portrait.norms if k in other.norms and first.weights[k].shape == second.weights[k].shape
    ]
    if not common:
        return np.zeros(len(DIRECTION))
    size = np.array([float(first.weights[k].numel()) for k in common]) ** 0.5
    size /= size.sum()

    def mean(a: dict[str, float], b: dict[str, float]) -> float:
        return float(sum(w * (b[k] - a[k]) for w, k in zip(size, common)))

    reach = 0.0
    for w, k in zip(size, common):
        change = thin_matrix(second.weights[k]) - thin_matrix(first.weights[k])
        total = float(change.norm().clamp_min(1e-12))
        reach += (
            w
            * (float((other.bases[k].T @ change).norm()) - float((portrait.bases[k].T @ change).norm()))
            / total
        )
    tail = float(
        sum(
            w * np.log(max(other.tails[k], 1e-3) / max(portrait.tails[k], 1e-3)) for w, k in zip(size, common)
        )
    )
    last = common[-1]
    return np.array(
        [
            mean(portrait.norms, other.norms),
            other.norms[last] - portrait.norms[last],
            other.vector_norm - portrait.vector_norm,
            tail,
            mean(portrait.ranks, other.ranks),
            mean(portrait.tops, other.tops),
            reach,
            float(np.std(list(portrait.norms.values())) - np.std(list(other.norms.values()))),
            mean(portrait.bulks, other.bulks),
            mean(portrait.rows, other.rows),
            mean(portrait.columns, other.columns),
            float(np.log(max(other.tails[common[0]], 1e-3) / max(portrait.tails[common[0]], 1e-3))),
        ]
    )


def kind_features(parent: Network, child: Network) -> np.ndarray:
    """(11,): how large the change is, where it lies, and whether it goes on with what was there."""
    common = [
        k for k in parent.matrices if k in child.weights and child.weights[k].shape == parent.weights[k].shape
    ]
    before = [parent.weights[k].double() for k in common]
    changes = [child.weights[k].double() - w for k, w in zip(common, before)]
    norms = [float(w.norm().clamp_min(1e-12)) for w in before]
    moved = [float(d.norm()) / n for d, n in zip(changes, norms)]
    along = [
        float((d * w).sum() / (d.norm() * n).clamp_min(1e-12)) for d, w, n in zip(changes, before, norms)
    ]
    growth = [float(((w + d).norm() / n).clamp_min(1e-12).log()) for d, w, n in zip(changes, before, norms)]
    ranks, tails = zip(*(_shape_of_change(d) for d in changes))
    head = changes[-1].flatten(1)
    log = [np.log(max(m, 1e-9)) for m in moved]
    rows = head.norm(dim=1)
    return np.array(
        [
            float(np.mean(log)),
            float(np.mean(growth) / max(np.mean(moved), 1e-9)),
            float(np.mean(along)),
            log[-1] - log[0],
            _change_of_vectors(parent, child) - float(np.mean(log)),
            float(np.mean(ranks)),
            float(np.log(np.mean(tails))),
            float(np.std(log)),
            float(rows.std(unbiased=False) / rows.mean().clamp_min(1e-12)),
            _stands_out(rows),
            _stands_out(head.mean(1)),
        ]
    )


def _shape_of_change(change: Tensor) -> tuple[float, float]:
    """Log effective rank over the full rank, and kurtosis."""
    s = torch.linalg.svdvals(thin_matrix(change)).square()
    share = s / s.sum().clamp_min(1e-30)
    rank = float(-(share * share.clamp_min(1e-30).log()).sum()) - float(np.log(len(s)))
    return rank, float(change.pow(4).mean() / change.square().mean().square().clamp_min(1e-30))


def _change_of_vectors(parent: Network, child: Network) -> float:
    """Log relative change of all biases and gains together."""
    names = [
        k
        for k, t in parent.weights.items()
        if t.ndim == 1 and k in child.weights and child.weights[k].shape == t.shape
    ]
    if not names:
        return float(np.log(1e-9))
    a, b = (torch.cat([n.weights[k].double() for k in names]) for n in (parent, child))
    return float(np.log(max(float((b - a).norm() / a.norm().clamp_min(1e-9)), 1e-9)))


def _stands_out(values: Tensor) -> float:
    """Largest robust z-score: does the change of one class's row stand out from those of the others?"""
    gap = (values - values.median()).abs()
    return float(gap.max() / (1.4826 * gap.median()).clamp_min(1e-12)) if len(values) > 2 else 0.0
