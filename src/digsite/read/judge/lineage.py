"""Who was made from whom: a p-value for every edge, a kind with its probability, a direction with its probability.

Pairs are tested first (`relation.py`). Related networks form groups; within a group the nearest pairs are joined to a
tree, models that are averages of others are taken out of it first, and the root is the network from which all edges of
the tree, read away from it, are most probable. `unrelated` is an answer, and so is "related, but from a common start".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import networkx as nx
import numpy as np

from digsite.base.errors import UsageError
from digsite.read.judge.edge_kinds import Judgement, judge_edge
from digsite.read.judge.relation import RELATED, Relation, relate_networks
from digsite.read.judge.traces import derived_marks, is_exact_origin, same_zeros
from digsite.read.judge.trios import (
    Edge,
    Mixture,
    find_grafts,
    find_merges,
    name_repairs,
    name_series,
    turn_back,
)
from digsite.read.subjects.network import Network

SURE = 0.65  # from this probability on a direction is told; below it, and above its complement, it is open


@dataclass(frozen=True)
class Lineage:
    """`unrelated` lists pairs that were excluded or not told from chance, with the reason."""

    roots: tuple[int, ...]
    edges: tuple[Edge, ...]
    relations: dict[tuple[int, int], Relation] = field(repr=False)
    distances: np.ndarray = field(repr=False)
    threshold: float = RELATED


def trace_networks(networks: Sequence[Network], level: float = RELATED) -> Lineage:
    """Every edge among the networks, with its p-value, kind and direction.

    `level`: chance of at least one false edge in the whole folder, if nobody in it is related to anybody.
    """
    if len(networks) < 2:
        raise UsageError(f"{len(networks)} model was given; a lineage needs at least two.")
    pairs = list(combinations(range(len(networks)), 2))
    relations = {(i, j): relate_networks(networks[i], networks[j]) for i, j in pairs}
    threshold = _holm_threshold([r.p for r in relations.values() if r.how != "excluded"], level)
    distances = _related_distances(len(networks), relations, threshold)
    marks = [derived_marks(n) for n in networks]
    mixtures = [*find_merges(networks, distances, marks), *find_grafts(networks, relations, threshold)]
    mixed = {m.child: m for m in mixtures}
    edges: list[Edge] = []
    for group in _related_groups(distances, mixed):
        edges += _grow_tree(group, networks, relations, distances, marks)
    edges = turn_back(
        edges, networks, distances, lambda p, c: _edge_from(p, c, networks, relations, distances)
    )
    edges = name_series(name_repairs(edges, networks), networks)
    edges += _hang_mixtures(mixed, relations)
    edges = _reattach_children(edges, mixed, networks, relations, distances)
    children = {e.child for e in edges}
    return Lineage(
        tuple(i for i in range(len(networks)) if i not in children),
        tuple(edges),
        relations,
        distances,
        threshold,
    )


def _holm_threshold(p_values: list[float], level: float) -> float:
    """Holm's step-down over all pairs: the largest p-value that still counts, so that one false edge in a folder is rare."""
    ordered = np.sort(p_values)
    last = 0.0
    for rank, p in enumerate(ordered):
        if p > level / (len(ordered) - rank):
            break
        last = float(p)
    return max(last, level / max(1, len(ordered)))


def _related_distances(
    count: int, relations: dict[tuple[int, int], Relation], threshold: float
) -> np.ndarray:
    """(networks, networks): 1 and more where no relation was found, so that only related ones are joined."""
    out = np.full((count, count), np.inf)
    np.fill_diagonal(out, 0.0)
    for (i, j), relation in relations.items():
        if relation.how in ("direct", "matched") and relation.p <= threshold:
            # In other coordinates a pair is no nearer than one that shares them: the copy hangs from its original.
            match = relation.match if relation.how == "matched" else None
            distance = 0.02 + 1.1 * match.distance if match is not None else relation.distance
            out[i, j] = out[j, i] = distance
    return out


def _related_groups(distances: np.ndarray, mixed: dict[int, Mixture]) -> list[list[int]]:
    """Connected sets of related networks, those with several parents taken out first."""
    graph = nx.Graph()
    own = [i for i in range(len(distances)) if i not in mixed]
    graph.add_nodes_from(own)
    graph.add_edges_from((i, j) for i, j in combinations(own, 2) if np.isfinite(distances[i, j]))
    return [sorted(group) for group in nx.connected_components(graph) if len(group) > 1]


def _grow_tree(
    group: list[int],
    networks: Sequence[Network],
    relations: dict[tuple[int, int], Relation],
    distances: np.ndarray,
    marks: Sequence[frozenset[str]],
) -> list[Edge]:
    """The shortest tree over the group, then the most probable root of it."""
    tree = _shortest_tree(group, networks, distances, marks)
    judged: dict[tuple[int, int], Judgement] = {}
    for i, j in tree.edges:
        judged[i, j] = judge_edge(networks[i], networks[j], relations[min(i, j), max(i, j)], i < j)
        judged[j, i] = judged[i, j].turned()
    score = {root: _root_evidence(tree, root, judged) for root in group}
    best = max(score, key=lambda r: score[r])
    weights = np.exp(np.array([score[r] for r in group]) - score[best])
    chance = dict(zip(group, weights / weights.sum()))
    out = []
    for parent, child in nx.bfs_edges(tree, best):
        beyond = nx.node_connected_component(nx.restricted_view(tree, [], [(parent, child)]), child)
        direction = 1.0 - float(sum(chance[r] for r in beyond))
        out.append(_make_edge(parent, child, judged[parent, child], relations, distances, direction))
    return out


def _shortest_tree(
    group: list[int], networks: Sequence[Network], distances: np.ndarray, marks: Sequence[frozenset[str]]
) -> nx.Graph:
    """Originals first. What was pruned or rounded then hangs from its nearest original, or from one with its own zeros."""
    originals = [i for i in group if not marks[i]] or group
    graph = nx.Graph()
    graph.add_nodes_from(originals)
    graph.add_weighted_edges_from(
        (i, j, distances[i, j]) for i, j in combinations(originals, 2) if np.isfinite(distances[i, j])
    )
    tree = nx.Graph(nx.minimum_spanning_tree(graph))
    for i in sorted(
        (i for i in group if i not in tree), key=lambda i: min(distances[i, o] for o in originals)
    ):
        hosts = [o for o in tree if np.isfinite(distances[i, o])]
        kin = [
            o
            for o in hosts
            if not marks[o] or (marks[o] == marks[i] == {"sparse"} and same_zeros(networks[o], networks[i]))
        ]
        exact = [o for o in kin if is_exact_origin(networks[o], networks[i])]
        if kin or hosts:
            tree.add_edge(i, min(exact or kin or hosts, key=lambda o: distances[i, o]))
    largest = max(nx.connected_components(tree), key=len)
    return nx.Graph(tree.subgraph(largest))


def _root_evidence(tree: nx.Graph, root: int, judged: dict[tuple[int, int], Judgement]) -> float:
    """Log probability of all directions away from this root; hubs are likelier parents, having many children."""
    total = 0.5 * np.log(tree.degree[root])
    for parent, child in nx.bfs_edges(tree, root):
        total += np.log(np.clip(judged[parent, child].forward, 1e-4, 1.0))
    return float(total)


def _make_edge(
    parent: int,
    child: int,
    judgement: Judgement,
    relations: dict[tuple[int, int], Relation],
    distances: np.ndarray,
    direction: float,
) -> Edge:
    """A judgement with what the relation of the two says of p and distance."""
    relation = relations[min(parent, child), max(parent, child)]
    return Edge(
        parent,
        child,
        judgement.kind,
        relation.p,
        float(direction),
        float(distances[parent, child]),
        judgement.certainty,
        judgement.note,
        judgement.taught,
    )


def _hang_mixtures(mixed: dict[int, Mixture], relations: dict[tuple[int, int], Relation]) -> list[Edge]:
    """One edge from each parent of an average or of a graft."""
    edges = []
    for child, made in mixed.items():
        for parent, weight in zip(made.parents, made.weights):
            relation = relations[min(parent, child), max(parent, child)]
            note = f"{weight:.0%} of it; {made.note}" if made.note else f"{weight:.0%} of it"
            edges.append(
                Edge(
                    parent,
                    child,
                    made.kind,
                    relation.p,
                    made.direction,
                    relation.distance,
                    made.direction,
                    note,
                )
            )
    return edges


def _reattach_children(
    edges: list[Edge],
    mixed: dict[int, Mixture],
    networks: Sequence[Network],
    relations: dict[tuple[int, int], Relation],
    distances: np.ndarray,
) -> list[Edge]:
    """Children of an average: whoever lies much nearer to it than to the parent that the tree gave."""
    out = []
    placed = {e.child for e in edges}
    for edge in edges:
        nearer = [
            m
            for m in mixed
            if m != edge.child
            and edge.child not in mixed[m].parents
            and distances[m, edge.child] < 0.8 * edge.distance
        ]
        if edge.child in mixed or not nearer:
            out.append(edge)
            continue
        out.append(
            _edge_from(
                min(nearer, key=lambda m: distances[m, edge.child]),
                edge.child,
                networks,
                relations,
                distances,
            )
        )
    rooted = {e.parent for e in edges}
    for made in mixed:  # a child that is related to nobody but the average
        for other in range(len(networks)):
            free = other not in placed and other not in mixed and other not in rooted
            if free and np.isfinite(distances[made, other]) and other not in mixed[made].parents:
                out.append(_edge_from(made, other, networks, relations, distances))
                placed.add(other)
    return out


def _edge_from(
    parent: int,
    child: int,
    networks: Sequence[Network],
    relations: dict[tuple[int, int], Relation],
    distances: np.ndarray,
) -> Edge:
    """The edge from one network to another, judged anew."""
    judgement = judge_edge(
        networks[parent], networks[child], relations[min(parent, child), max(parent, child)], parent < child
    )
    return _make_edge(parent, child, judgement, relations, distances, judgement.forward)
