"""What three related networks show that two do not: training goes on in one direction, siblings turn back, pupils follow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

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
            elif edge.kind == "repaired":
                edge = replace(edge, kind="distilled")
        out.append(edge)
    return out


def _changes(first: Network, second: Network, names: Sequence[str]) -> list[Tensor]:
    return [second.weights[k] - first.weights[k] for k in names]


def _shared(*networks: Network) -> list[str]:
    first, *others = networks
    return [
        k
        for k in first.matrices
        if all(k in n.weights and n.weights[k].shape == first.weights[k].shape for n in others)
    ]


def cosine_of_ways(origin: Network, middle: Network, end: Network) -> float:
    """Cosine between the step from origin to middle and the step from middle to end, over the matrices they share."""
    names = _shared(origin, middle, end)
    return _cosine(_changes(origin, middle, names), _changes(middle, end, names))


def cosine_of_heads(origin: Network, one: Network, other: Network) -> float:
    """Cosine between what two networks changed in the last matrix of their common origin."""
    names = _shared(origin, one, other)[-1:]
    return _cosine(_changes(origin, one, names), _changes(origin, other, names))


def _cosine(first: list[Tensor], second: list[Tensor]) -> float:
    along = sum(float((a.double() * b.double()).sum()) for a, b in zip(first, second))
    norms = [sum(float(t.double().square().sum()) for t in side) for side in (first, second)]
    return along / max((norms[0] * norms[1]) ** 0.5, 1e-12)
