"""What three related networks show that two do not.

Training goes on in one direction, siblings turn back, pupils follow their teacher; an average lies between its parents,
and a graft has some tensors of one and the others of another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from torch import Tensor

from digsite.read.judge.relation import Relation
from digsite.read.subjects.network import Network

TRAINED = {"fine-tuned", "continued", "distilled", "repaired"}
COPIES = {"permuted copy", "rescaled copy", "identical copy"}
_CLEARLY = 1.15  # a sibling is nearer by less than this factor
_BACK, _ON = -0.1, 0.2  # cosines of a way that turns back, and of one that goes on
_FOLLOWS, _TAUGHT = 0.25, 0.2  # cosine of two changes of the head; probability that a teacher was followed


@dataclass(frozen=True)
class Edge:
    """`p`: chance that unrelated networks agree as well. `direction`: probability that `parent` came first."""

    parent: int
    child: int
    kind: str
    p: float
    direction: float
    distance: float
    certainty: float  # of the kind, among the kinds that the bench knows
    note: str = ""
    taught: float = 0.0

    @property
    def is_repair(self) -> bool:
        """Whether it was trained to mend its parent, by a teacher."""
        return self.kind == "repaired"


def turn_back(
    edges: list[Edge], networks: Sequence[Network], distances: Any, rejudge: Callable[[int, int], Edge]
) -> list[Edge]:
    """Children that left earlier than the tree says: they go to their grandparent. `rejudge` makes the edge between two.

    Two trainings from one start move alike for a while, so that the nearer of the two to a third may be its sibling. A
    child of the sibling would go on from there, not back, and would be clearly nearer to it. What is as good as a copy
    is nobody's origin where its own original is as near.
    """
    above = {e.child: e for e in edges}
    out = []
    for edge in edges:
        before = above.get(edge.parent)
        if before is not None:
            far = distances[before.parent][edge.child]
            if before.kind in COPIES:
                earlier = far <= 1.1 * edge.distance + 0.03
            elif edge.kind in TRAINED and before.kind in TRAINED:
                way = cosine_of_ways(networks[before.parent], networks[edge.parent], networks[edge.child])
                earlier = (way < _BACK and far < 1.6 * edge.distance) or (
                    way < _ON and far < _CLEARLY * edge.distance
                )
            else:
                earlier = False
            edge = rejudge(before.parent, edge.child) if earlier else edge
        out.append(edge)
    return out


def name_series(edges: list[Edge], networks: Sequence[Network]) -> list[Edge]:
    """Two steps of training in one direction are one training that went on, whatever each looks like alone."""
    above = {e.child: e for e in edges}
    on: dict[int, float] = {}
    for edge in edges:
        before = above.get(edge.parent)
        if edge.kind in TRAINED and before is not None and before.kind in TRAINED:
            cosine = cosine_of_ways(networks[before.parent], networks[edge.parent], networks[edge.child])
            if cosine > _ON:
                on[edge.child] = max(cosine, on.get(edge.child, 0.0))
                on[edge.parent] = max(cosine, on.get(edge.parent, 0.0))
    return [
        replace(
            e,
            kind="continued",
            certainty=0.9,
            note=f"{e.note}; goes on in one direction (cosine {on[e.child]:.2f})".removeprefix("; "),
        )
        if e.child in on
        else e
        for e in edges
    ]


def name_repairs(edges: list[Edge], networks: Sequence[Network]) -> list[Edge]:
    """A child of training whose output layer moved the way another child of its parent moved: that one may have taught it.

    Repair by distillation takes a fine-tuned copy of the faulty network as its teacher, so both end with like heads.
    Without such a sibling, what looks taught was taught by somebody who is not here.
    """
    out = []
    for edge in edges:
        if edge.kind in TRAINED and edge.taught > _TAUGHT:
            rivals = [
                e.child
                for e in edges
                if e.parent == edge.parent and e.child != edge.child and e.distance > edge.distance
            ]
            follows = {
                r: cosine_of_heads(networks[edge.parent], networks[edge.child], networks[r])
                for r in rivals
                if r is not None
            }
            teacher = max(follows, key=lambda r: follows[r], default=None)
            if teacher is not None and follows[teacher] > _FOLLOWS:
                note = f"its output layer moved the way '{networks[teacher].name}' moved (cosine {follows[teacher]:.2f}): perhaps its teacher"
                edge = replace(
                    edge,
                    kind="repaired",
                    certainty=max(0.5, edge.taught),
                    note=f"{edge.note}; {note}".removeprefix("; "),
                )
            elif edge.is_repair:
                edge = replace(edge, kind="distilled")
        out.append(edge)
    return out


def _list_changes(first: Network, second: Network, names: Sequence[str]) -> list[Tensor]:
    return [second.weights[k] - first.weights[k] for k in names]


def _shared_matrices(*networks: Network) -> list[str]:
    first, *others = networks
    return [
        k
        for k in first.matrices
        if all(k in n.weights and n.weights[k].shape == first.weights[k].shape for n in others)
    ]


def cosine_of_ways(origin: Network, middle: Network, end: Network) -> float:
    """Cosine between the step from origin to middle and the step from middle to end, over the matrices they share.

    Near one, training went on; below zero it turned back, and the two are siblings.
    """
    names = _shared_matrices(origin, middle, end)
    return _cosine_of_changes(_list_changes(origin, middle, names), _list_changes(middle, end, names))


def cosine_of_heads(origin: Network, first: Network, other: Network) -> float:
    """Cosine between what two networks changed in the last matrix of their common origin."""
    names = _shared_matrices(origin, first, other)[-1:]
    return _cosine_of_changes(_list_changes(origin, first, names), _list_changes(origin, other, names))


def _cosine_of_changes(first: list[Tensor], second: list[Tensor]) -> float:
    along = sum(float((a.double() * b.double()).sum()) for a, b in zip(first, second))
    norms = [sum(float(t.double().square().sum()) for t in side) for side in (first, second)]
    return along / max((norms[0] * norms[1]) ** 0.5, 1e-12)


# Models with more than one parent: averages of others, and exchanges of whole layers.

_OFF_LINE = 0.04  # an average lies off its parents' span by less than this share of what they lie apart
_NEAR, _FAR = (
    0.02,
    0.25,
)  # a transplanted tensor is this near to its donor's, and that far from its receiver's
_KIN = 12  # nearest relatives that are tried as parents


@dataclass(frozen=True)
class Mixture:
    """`weights` are the parents' shares: of the average, or of the weights that came from each."""

    child: int
    kind: str
    parents: tuple[int, ...]
    weights: tuple[float, ...]
    direction: float
    note: str = ""


def find_merges(
    networks: Sequence[Network], distances: np.ndarray, marks: Sequence[frozenset[str]]
) -> list[Mixture]:
    """Averages of two or three others. A child lies between its parents, so no parent is ever taken for the child.

    `marks` names networks that were pruned or rounded: they are nobody's parent here, being as good as copies.
    """
    sketches = _sketch_networks(networks)
    products = {
        key: np.stack([sketches[i] for i in key]) @ np.stack([sketches[i] for i in key]).T
        for key in _group_by_length(sketches)
    }
    out: list[Mixture] = []
    for key, gram in products.items():
        rows = {network: row for row, network in enumerate(key)}
        for child in key:
            kin = [
                i
                for i in np.argsort(distances[child])
                if i in rows and i != child and np.isfinite(distances[child, i])
            ]
            kin = [int(i) for i in kin if distances[child, i] > 1e-4 and not marks[i]][:_KIN]
            tried = [_fit_average(child, some, rows, gram) for k in (2, 3) for some in combinations(kin, k)]
            mixtures = [m for m in tried if m is not None]
            if mixtures:
                out.append(min(mixtures, key=lambda m: m[1] * (5.0 if len(m[0].parents) == 3 else 1.0))[0])
    return _drop_circles(out)


def _group_by_length(sketches: dict[int, np.ndarray]) -> list[tuple[int, ...]]:
    """Networks of equal length, together."""
    by_length: dict[int, list[int]] = {}
    for i, vector in sketches.items():
        by_length.setdefault(len(vector), []).append(i)
    return [tuple(v) for v in by_length.values() if len(v) > 2]


def _sketch_networks(networks: Sequence[Network]) -> dict[int, np.ndarray]:
    """Matrices end to end, evenly thinned to some 200,000 weights, of every shape that three networks have."""
    keys = [tuple((k, tuple(t.shape)) for k, t in n.weights.items() if t.ndim > 1) for n in networks]
    out = {}
    for i, n in enumerate(networks):
        if keys.count(keys[i]) < 3:
            continue
        step = max(1, n.size // 200_000)
        out[i] = np.concatenate([n.weights[k].flatten()[::step].double().numpy() for k in n.matrices])
    return out


def _fit_average(
    child: int, parents: tuple[int, ...], row_of: dict[int, int], gram: np.ndarray
) -> tuple[Mixture, float] | None:
    """Least squares for the shares, from inner products; the parents' common part must not do the work."""
    rows = [row_of[i] for i in (parents[0], *parents[1:], child)]
    g = gram[np.ix_(rows, rows)]
    shifted = g[1:, 1:] - g[1:, :1] - g[:1, 1:] + g[0, 0]  # of differences to the first parent
    spans, target = shifted[:-1, :-1], shifted[:-1, -1]
    if np.linalg.det(spans) <= 1e-9 * float(np.prod(np.diag(spans))):
        return None
    shares = np.linalg.solve(spans, target)
    left = float(np.sqrt(max(0.0, shifted[-1, -1] - target @ shares)))
    apart = float(np.sqrt(np.linalg.det(spans) / max(1e-300, spans[0, 0] if len(parents) == 3 else 1.0)))
    weights = np.array([1 - shares.sum(), *shares])
    if apart == 0 or left / apart > _OFF_LINE or weights.min() < 0.08:
        return None
    order = np.argsort(-weights)
    off = left / apart
    return Mixture(
        child,
        "merged",
        tuple(parents[i] for i in order),
        tuple(float(weights[i]) for i in order),
        0.98,
        f"an average, off by {off:.1%} of what its parents lie apart",
    ), max(off, 1e-4)


def _drop_circles(mixtures: list[Mixture]) -> list[Mixture]:
    """An average of averages may not be its own ancestor: the first of two that name each other stays."""
    out: list[Mixture] = []
    for m in mixtures:
        if not any(m.child in o.parents and o.child in m.parents for o in out):
            out.append(m)
    return out


def find_grafts(
    networks: Sequence[Network], relations: dict[tuple[int, int], Relation], threshold: float
) -> list[Mixture]:
    """Networks some tensors of which are one network's and the others another's, these two having nothing in common there.

    `threshold`: p-value up to which a pair counts as related.
    """
    out: list[Mixture] = []
    near = {
        pair: _split_relation(r) for pair, r in relations.items() if r.how == "direct" and r.p <= threshold
    }
    for child in range(len(networks)):
        partial = {
            (set(pair) - {child}).pop(): s for pair, s in near.items() if child in pair and s[0] and s[1]
        }
        best: Mixture | None = None
        for a, b in combinations(partial, 2):
            made = _fit_graft(child, a, b, partial, near.get((min(a, b), max(a, b))), networks)
            if made and (best is None or min(made.weights) > min(best.weights)):
                best = made
        if best:
            out.append(best)
    return out


def _split_relation(relation: Relation) -> tuple[set[str], set[str]]:
    """Matrices that are nearly equal, and matrices that are foreign."""
    same = {t.name for t in relation.tensors if t.distance < _NEAR and t.p < 1}
    foreign = {t.name for t in relation.tensors if t.distance > _FAR and abs(t.cosine) < 0.5 and t.p < 1}
    foreign |= {
        t.name
        for t in relation.tensors
        if t.distance > 0.6 and abs(t.cosine) < 0.3 and t.name not in same and t.cosine
    }
    return same, foreign


def _fit_graft(
    child: int,
    a: int,
    b: int,
    partial: dict[int, tuple[set[str], set[str]]],
    parents: tuple[set[str], set[str]] | None,
    networks: Sequence[Network],
) -> Mixture | None:
    """The parents may be related to each other only where neither gave both: else the child is a sibling, not a graft."""
    from_a, from_b = partial[a][0] & partial[b][1], partial[b][0] & partial[a][1]
    if not from_a or not from_b or (parents is not None and not (from_a | from_b) <= parents[1]):
        return None
    sizes = [sum(networks[child].weights[k].numel() for k in names) for names in (from_a, from_b)]
    shares = [s / sum(sizes) for s in sizes]
    order = (0, 1) if sizes[0] >= sizes[1] else (1, 0)
    names = sorted(from_b if order == (0, 1) else from_a)
    return Mixture(
        child,
        "grafted",
        tuple((a, b)[i] for i in order),
        tuple(shares[i] for i in order),
        0.95,
        f"{names[0]}{' and others' if len(names) > 1 else ''} came from the smaller parent",
    )
