"""Models with more than one parent: averages of others, and exchanges of whole layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from digsite.read.judge.relation import Relation
from digsite.read.subjects.network import Network

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
    sketches = _sketch(networks)
    products = {
        key: np.stack([sketches[i] for i in key]) @ np.stack([sketches[i] for i in key]).T
        for key in _same(sketches)
    }
    out: list[Mixture] = []
    for key, gram in products.items():
        place = {network: row for row, network in enumerate(key)}
        for child in key:
            kin = [
                i
                for i in np.argsort(distances[child])
                if i in place and i != child and np.isfinite(distances[child, i])
            ]
            kin = [int(i) for i in kin if distances[child, i] > 1e-4 and not marks[i]][:_KIN]
            tried = [_average(child, some, place, gram) for k in (2, 3) for some in combinations(kin, k)]
            found = [m for m in tried if m is not None]
            if found:
                out.append(min(found, key=lambda m: m[1] * (5.0 if len(m[0].parents) == 3 else 1.0))[0])
    return _drop_circles(out)


def _same(sketches: dict[int, np.ndarray]) -> list[tuple[int, ...]]:
    """Networks of equal length, together."""
    by_length: dict[int, list[int]] = {}
    for i, vector in sketches.items():
        by_length.setdefault(len(vector), []).append(i)
    return [tuple(v) for v in by_length.values() if len(v) > 2]


def _sketch(networks: Sequence[Network]) -> dict[int, np.ndarray]:
    """Matrices end to end, evenly thinned to some 200,000 weights, of every shape that three networks have."""
    keys = [tuple((k, tuple(t.shape)) for k, t in n.weights.items() if t.ndim > 1) for n in networks]
    out = {}
    for i, n in enumerate(networks):
        if keys.count(keys[i]) < 3:
            continue
        step = max(1, n.size // 200_000)
        out[i] = np.concatenate([n.weights[k].flatten()[::step].double().numpy() for k in n.matrices])
    return out


def _average(
    child: int, parents: tuple[int, ...], place: dict[int, int], gram: np.ndarray
) -> tuple[Mixture, float] | None:
    """Least squares for the shares, from inner products; the parents' common part must not do the work."""
    rows = [place[i] for i in (parents[0], *parents[1:], child)]
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


def _drop_circles(found: list[Mixture]) -> list[Mixture]:
    """An average of averages may not be its own ancestor: the first of two that name each other stays."""
    out: list[Mixture] = []
    for m in found:
        if not any(m.child in o.parents and o.child in m.parents for o in out):
            out.append(m)
    return out


def find_grafts(
    networks: Sequence[Network], relations: dict[tuple[int, int], Relation], threshold: float
) -> list[Mixture]:
    """Networks some tensors of which are one network's and the others another's, these two having nothing in common there."""
    out: list[Mixture] = []
    near = {pair: _split(r) for pair, r in relations.items() if r.how == "direct" and r.p <= threshold}
    for child in range(len(networks)):
        partial = {
            (set(pair) - {child}).pop(): s for pair, s in near.items() if child in pair and s[0] and s[1]
        }
        best: Mixture | None = None
        for a, b in combinations(partial, 2):
            made = _graft(child, a, b, partial, near.get((min(a, b), max(a, b))), networks)
            if made and (best is None or min(made.weights) > min(best.weights)):
                best = made
        if best:
            out.append(best)
    return out


def _split(relation: Relation) -> tuple[set[str], set[str]]:
    """Matrices that are nearly equal, and matrices that are foreign."""
    same = {t.name for t in relation.tensors if t.distance < _NEAR and t.p < 1}
    foreign = {t.name for t in relation.tensors if t.distance > _FAR and abs(t.cosine) < 0.5 and t.p < 1}
    foreign |= {
        t.name
        for t in relation.tensors
        if t.distance > 0.6 and abs(t.cosine) < 0.3 and t.name not in same and t.cosine
    }
    return same, foreign


def _graft(
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
