"""Blocks of weights as a few fixed functions per pair of neurons, padded so that many networks share one batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from digsite.read.core.graph import Graph, NodeSet
from digsite.read.core.node_features import node_features
from digsite.read.core.parts import Parts, canonical, parts_of
from digsite.read.core.population import Population

N_ACTIVATIONS = 8
_ACTIVATION_ID = {
    "": 0,
    "relu": 1,
    "tanh": 2,
    "gelu": 3,
    "sigmoid": 4,
    "leaky": 5,
    "leaky_relu": 5,
    "none": 6,
}


@dataclass(frozen=True)
class Compiled:
    """One network: `edges[i]` is (target, functions, source) of block i, `scales[i]` the log of its typical weight."""

    graph: Graph
    key: tuple
    edges: list[Tensor]
    scales: Tensor  # (blocks,)
    nodes: list[Tensor]  # (size, features) per set, see `node_features`


@dataclass(frozen=True)
class Batch:
    """Networks of one topology: (B, target, functions, source) per block and (B, size, ...) per node set.

    In this order a message either way is a product of what lies in memory as it is: no copy.
    """

    graph: Graph
    edges: list[Tensor]
    scales: Tensor
    nodes: list[Tensor]
    masks: list[Tensor]  # (B, size), 1 where a neuron is real
    activations: Tensor  # (B, sets)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        edges, nodes, masks = (list(map(change, part)) for part in (self.edges, self.nodes, self.masks))
        return Batch(self.graph, edges, change(self.scales), nodes, masks, change(self.activations))

    def to(self, device: str) -> "Batch":
        return self.map(lambda tensor: tensor.to(device))


def topology(graph: Graph) -> tuple:
    """What must agree for two networks to share a batch; widths, activations and skips need not."""
    blocks = (
        (block_key(graph, i), b.source, b.target) for i, b in enumerate(graph.blocks) if b.kind != "skip"
    )
    return tuple((n.kind, n.size if n.identity else 0) for n in graph.nodes), tuple(blocks)


def block_key(graph: Graph, index: int) -> str:
    """Blocks with one key share their parameters in the reader."""
    block = graph.blocks[index]
    first = graph.nodes[block.source].kind == "input"
    last = graph.nodes[block.target].kind == "output"
    return f"{block.kind}:{'only' if first and last else 'first' if first else 'last' if last else 'inner'}"


def edge_functions(weight: Tensor, shared: bool) -> Tensor:
    """(members, taps, target, source) to (members, target, functions, source).

    `shared` taps (attention heads) are summed after the functions, so their order cannot matter. Ordered taps (a
    kernel's places) are first reduced to moments: sum, spread, two slopes and curvature, which name no grid size.
    """
    taps = weight.shape[1]
    if taps == 1 or shared:
        functions = [weight, weight.abs(), weight.square(), (4 * weight).tanh()]
        return torch.stack([f.sum(1) for f in functions], 2) / taps**0.5
    side = round(taps**0.5)
    at = torch.linspace(-1, 1, side, dtype=weight.dtype) if side * side == taps else None
    total, size, rms = weight.sum(1), weight.abs().mean(1), weight.square().mean(1).sqrt()
    if at is None:
        along = torch.linspace(-1, 1, taps, dtype=weight.dtype)
        moments = [along, along * 0, along.square() - along.square().mean()]
    else:
        x, y = at.repeat(side), at.repeat_interleave(side)
        radius = x.square() + y.square()
        moments = [x, y, radius - radius.mean()]
    slopes = [torch.einsum("ntij,t->nij", weight, m) for m in moments]
    return torch.stack([total / taps**0.5, size, rms, *(s / taps**0.5 for s in slopes)], 2)


def compile_population(population: Population, in_canonical_form: bool) -> list[Compiled]:
    """Every member ready for batching, in the population's order."""
    out: list[Compiled | None] = [None] * population.size
    for group in population.groups:
        # Doubles: the products of layers of a network that exploded do not fit into floats.
        parts = parts_of(group.graph, {name: value.double() for name, value in group.tensors.items()})
        # The canonical form depends on the activation, so only its readers are told: elsewhere it is a question.
        graph = group.graph if in_canonical_form else anonymous(group.graph)
        parts = canonical(graph, parts) if in_canonical_form else parts
        for row, compiled in zip(group.rows, _compile(graph, parts)):
            out[row] = compiled
    return [c for c in out if c is not None]


def anonymous(graph: Graph) -> Graph:
    return replace(graph, nodes=tuple(replace(n, activation="") for n in graph.nodes))


def _compile(graph: Graph, parts: Parts) -> list[Compiled]:
    scales, edges = [], []
    for block, weight in zip(graph.blocks, parts.weights):
        scale = weight.square().mean((1, 2, 3)).sqrt().clamp_min(1e-8)
        edges.append(edge_functions(weight / scale[:, None, None, None], block.kind in ("qk", "vo")).float())
        scales.append(scale)
    nodes = [n.float() for n in node_features(graph, parts)]
    stacked, key = torch.stack(scales, 1).log().float(), topology(graph)
    return [
        Compiled(graph, key, [e[i] for e in edges], stacked[i], [n[i] for n in nodes])
        for i in range(len(stacked))
    ]


def batch_of(members: Sequence[Compiled]) -> Batch:
    """Members of one topology, padded to the widest; zero weights and masks keep the padding without effect.

    A skip that only some members have is a block of zero weights for the others.
    """
    graph, places = _union(members)
    sizes = [max(m.graph.nodes[i].size for m in members) for i in range(len(graph.nodes))]
    edges, scales = [], []
    for i, block in enumerate(graph.blocks):
        like = next(m.edges[p[i]] for m, p in zip(members, places) if i in p)
        absent = like.new_zeros(1, like.shape[1], 1)
        parts = [m.edges[p[i]] if i in p else absent for m, p in zip(members, places)]
        edges.append(_pad(parts, (sizes[block.target], like.shape[1], sizes[block.source])))
        nothing = torch.tensor(torch.nan)
        scales.append(torch.stack([m.scales[p[i]] if i in p else nothing for m, p in zip(members, places)]))
    nodes = [_pad([m.nodes[i].T for m in members], (size,)).transpose(1, 2) for i, size in enumerate(sizes)]
    masks = []
    for i, size in enumerate(sizes):
        real = torch.tensor([m.graph.nodes[i].size for m in members])
        masks.append((torch.arange(size) < real[:, None]).float())
    ids = torch.stack([activation_ids(m.graph.nodes) for m in members])
    return Batch(graph, edges, torch.stack(scales, 1), nodes, masks, ids)


def activation_ids(nodes: Sequence[NodeSet]) -> Tensor:
    """The number of each set's activation; 0 where none is named, the last one for those without a number."""
    return torch.tensor(
        [_ACTIVATION_ID.get(n.activation, N_ACTIVATIONS - 1) for n in nodes], dtype=torch.long
    )


def _union(members: Sequence[Compiled]) -> tuple[Graph, list[dict[int, int]]]:
    """The graph with every block that some member has, and for each member where its own blocks are in it."""

    def identity(graph: Graph, i: int) -> tuple:
        block = graph.blocks[i]
        repeat = sum(
            (b.kind, b.source, b.target) == (block.kind, block.source, block.target) for b in graph.blocks[:i]
        )
        return block.target, block.source, block.kind, repeat

    found: dict[tuple, Any] = {}
    for member in members:
        for i, block in enumerate(member.graph.blocks):
            found.setdefault(identity(member.graph, i), block)
    first = members[0].graph
    plain = [identity(first, i) for i, b in enumerate(first.blocks) if b.kind != "skip"]
    order = list(plain)
    for key in sorted(k for k in found if k not in plain):
        at = max(i for i, k in enumerate(order) if k[0] == key[0])
        order.insert(at + 1, key)
    graph = replace(first, blocks=tuple(found[k] for k in order))
    where = {key: i for i, key in enumerate(order)}
    return graph, [{where[identity(m.graph, i)]: i for i in range(len(m.graph.blocks))} for m in members]


def _pad(tensors: list[Tensor], to: tuple[int, ...]) -> Tensor:
    if all(t.shape[-len(to) :] == to for t in tensors):
        return torch.stack(tensors)
    out = tensors[0].new_zeros(len(tensors), *tensors[0].shape[: -len(to)], *to)
    for place, t in zip(out, tensors):
        place[(..., *(slice(s) for s in t.shape[-len(to) :]))] = t
    return out
