"""Networks as the graph network takes them in: fixed functions per pair of neurons, numbers per neuron, one padded batch.

`ZooShape` says what kinds of blocks and ends a reader was trained on, so that it refuses all others in one sentence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.read.core.graph import Graph, GraphWeights, NodeSet, to_canonical_form, weigh_graph
from digsite.read.core.population import NetworkGroup, Population

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
class CompiledNetwork:
    """One network: `edges[i]` is (target, functions, source) of block i, `scales[i]` the log of its typical weight."""

    graph: Graph
    key: tuple
    edges: list[Tensor]
    scales: Tensor  # (blocks,)
    nodes: list[Tensor]  # (size, features) per set, see `node_features`


@dataclass(frozen=True)
class NetworkBatch:
    """Networks of one topology: (B, target, functions, source) per block and (B, size, ...) per node set.

    In this order a message either way is a product of what lies in memory as it is: no copy.
    """

    graph: Graph
    edges: list[Tensor]
    scales: Tensor
    nodes: list[Tensor]
    masks: list[Tensor]  # (B, size), 1 where a neuron is real
    activations: Tensor  # (B, sets)

    def map(self, change: Callable[[Tensor], Tensor]) -> "NetworkBatch":
        """The batch with `change` applied to every tensor of it."""
        edges, nodes, masks = (list(map(change, part)) for part in (self.edges, self.nodes, self.masks))
        return NetworkBatch(self.graph, edges, change(self.scales), nodes, masks, change(self.activations))

    def to(self, device: str) -> "NetworkBatch":
        """The batch on another device."""
        return self.map(lambda tensor: tensor.to(device))


def key_topology(graph: Graph) -> tuple:
    """What must agree for two networks to share a batch; widths, activations and skips need not."""
    blocks = ((block_key(graph, i), b.source, b.target) for i, b in enumerate(graph.blocks) if not b.is_skip)
    return tuple((n.kind, n.size if n.identity else 0) for n in graph.nodes), tuple(blocks)


def block_key(graph: Graph, index: int) -> str:
    """ "conv:first", "linear:inner" ...: blocks with one key share their parameters in the reader.

    Depth enters by place (first, inner, last, only) and not by number, so that a reader of networks of four layers
    can read one of seven.
    """
    block = graph.blocks[index]
    first = graph.nodes[block.source].is_input
    last = graph.nodes[block.target].is_output
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


def compile_population(population: Population, in_canonical_form: bool) -> list[CompiledNetwork]:
    """Every member ready for batching, in the population's order."""
    out: list[CompiledNetwork | None] = [None] * population.size
    for group in population.groups:
        # Doubles: the products of layers of a network that exploded do not fit into floats.
        parts = weigh_graph(group.graph, {name: value.double() for name, value in group.tensors.items()})
        # The canonical form depends on the activation, so only its readers are told: elsewhere it is a question.
        graph = group.graph if in_canonical_form else without_activations(group.graph)
        parts = to_canonical_form(graph, parts) if in_canonical_form else parts
        for row, compiled in zip(group.rows, _compile_group(graph, parts)):
            out[row] = compiled
    return [c for c in out if c is not None]


def without_activations(graph: Graph) -> Graph:
    """The same graph with no activation named: readers of recipes must not be told what they are asked."""
    return replace(graph, nodes=tuple(replace(n, activation="") for n in graph.nodes))


def _compile_group(graph: Graph, parts: GraphWeights) -> list[CompiledNetwork]:
    """Weights of each block in units of their own spread, which is given to the network as a number of its own."""
    scales, edges = [], []
    for block, weight in zip(graph.blocks, parts.weights):
        scale = weight.square().mean((1, 2, 3)).sqrt().clamp_min(1e-8)
        edges.append(edge_functions(weight / scale[:, None, None, None], block.kind in ("qk", "vo")).float())
        scales.append(scale)
    nodes = [n.float() for n in node_features(graph, parts)]
    stacked, key = torch.stack(scales, 1).log().float(), key_topology(graph)
    return [
        CompiledNetwork(graph, key, [e[i] for e in edges], stacked[i], [n[i] for n in nodes])
        for i in range(len(stacked))
    ]


def batch_of(members: Sequence[CompiledNetwork]) -> NetworkBatch:
    """Members of one topology, padded to the widest; zero weights and masks keep the padding without effect.

    A skip that only some members have is a block of zero weights for the others.
    """
    graph, places = _unite_graphs(members)
    sizes = [max(m.graph.nodes[i].size for m in members) for i in range(len(graph.nodes))]
    edges, scales = [], []
    for i, block in enumerate(graph.blocks):
        like = next(m.edges[p[i]] for m, p in zip(members, places) if i in p)
        absent = like.new_zeros(1, like.shape[1], 1)
        parts = [m.edges[p[i]] if i in p else absent for m, p in zip(members, places)]
        edges.append(_pad_stack(parts, (sizes[block.target], like.shape[1], sizes[block.source])))
        nothing = torch.tensor(torch.nan)
        scales.append(torch.stack([m.scales[p[i]] if i in p else nothing for m, p in zip(members, places)]))
    nodes = [
        _pad_stack([m.nodes[i].T for m in members], (size,)).transpose(1, 2) for i, size in enumerate(sizes)
    ]
    masks = []
    for i, size in enumerate(sizes):
        real = torch.tensor([m.graph.nodes[i].size for m in members])
        masks.append((torch.arange(size) < real[:, None]).float())
    ids = torch.stack([activation_ids(m.graph.nodes) for m in members])
    return NetworkBatch(graph, edges, torch.stack(scales, 1), nodes, masks, ids)


def activation_ids(nodes: Sequence[NodeSet]) -> Tensor:
    """The number of each set's activation; 0 where none is named, the last one for those without a number."""
    return torch.tensor(
        [_ACTIVATION_ID.get(n.activation, N_ACTIVATIONS - 1) for n in nodes], dtype=torch.long
    )


def _unite_graphs(members: Sequence[CompiledNetwork]) -> tuple[Graph, list[dict[int, int]]]:
    """The graph with every block that some member has, and for each member where its own blocks are in it."""

    def identity(graph: Graph, i: int) -> tuple:
        block = graph.blocks[i]
        repeat = sum(
            (b.kind, b.source, b.target) == (block.kind, block.source, block.target) for b in graph.blocks[:i]
        )
        return block.target, block.source, block.kind, repeat

    by_key: dict[tuple, Any] = {}
    for member in members:
        for i, block in enumerate(member.graph.blocks):
            by_key.setdefault(identity(member.graph, i), block)
    first = members[0].graph
    plain = [identity(first, i) for i, b in enumerate(first.blocks) if not b.is_skip]
    order = list(plain)
    for key in sorted(k for k in by_key if k not in plain):
        at = max(i for i, k in enumerate(order) if k[0] == key[0])
        order.insert(at + 1, key)
    graph = replace(first, blocks=tuple(by_key[k] for k in order))
    where = {key: i for i, key in enumerate(order)}
    return graph, [{where[identity(m.graph, i)]: i for i in range(len(m.graph.blocks))} for m in members]


def _pad_stack(tensors: list[Tensor], to: tuple[int, ...]) -> Tensor:
    """Zeros behind, so that networks of unequal widths are one batch; masks say what is real."""
    if all(t.shape[-len(to) :] == to for t in tensors):
        return torch.stack(tensors)
    out = tensors[0].new_zeros(len(tensors), *tensors[0].shape[: -len(to)], *to)
    for slot, t in zip(out, tensors):
        slot[(..., *(slice(s) for s in t.shape[-len(to) :]))] = t
    return out


# What kinds of networks a reader was trained on, so that it can refuse all others in one sentence.


@dataclass(frozen=True)
class ZooShape:
    """Kinds of blocks with the number of edge functions of each, and the sizes of inputs and outputs.

    Of a reader of any shape it holds the outputs alone: what it says nothing of is not asked.
    """

    keys: Mapping[str, int]
    identities: Mapping[str, int]

    def refuse_strangers(self, other: "ZooShape") -> None:
        """A UsageError that names the first kinds of blocks, or sizes of ends, that this zoo has not shown."""
        ends = {name.partition(":")[0] for name in self.identities}
        strange = [k for k in other.keys if self.keys and k not in self.keys]
        strange += [k for k in other.identities if k.partition(":")[0] in ends and k not in self.identities]
        if strange:
            raise UsageError(
                f"this reader was trained for another family: it has never seen {', '.join(map(repr, strange))}.",
                hint=f"It knows: {', '.join([*self.keys, *self.identities])}.",
            )


def shape_of(population: Population) -> ZooShape:
    """What a population shows of its kinds: every block's key with its number of edge functions, every end with its size."""
    keys: dict[str, int] = {}
    identities: dict[str, int] = {}
    for group in population.groups:
        identities |= {f"{n.kind}:{n.size}": n.size for n in group.graph.nodes if n.identity}
        for i in range(len(group.graph.blocks)):
            keys[block_key(group.graph, i)] = n_functions(group, i)
    return ZooShape(dict(sorted(keys.items())), dict(sorted(identities.items())))


def outputs_of(population: Population) -> ZooShape:
    """Nothing but the sizes of outputs, for readers that read any shape: an accuracy means something else among other classes."""
    shown = shape_of(population).identities
    return ZooShape({}, {name: size for name, size in shown.items() if name.startswith("output:")})


def n_functions(group: NetworkGroup, index: int) -> int:
    """Four of a single weight, six of a kernel."""
    block = group.graph.blocks[index]
    if block.layout not in ("conv", "spatial"):
        return 4
    weight = group.tensors[block.tensors[0]]
    spatial = weight.shape[2] // group.graph.nodes[block.source].size
    taps = weight[0, 0, 0].numel() if block.layout == "conv" else spatial
    return 4 if taps == 1 else 6


# What a neuron's own weights say of it: how strong, how peaked and how one-sided all that enters and leaves it is.

_SIDE = ("norm", "relative_norm", "peak", "tilt", "count")
NAMES = (
    "bias",
    "bias_size",
    "bias_absolute",
    "gain",
    *(f"in_{n}" for n in _SIDE),
    *(f"out_{n}" for n in _SIDE),
)


def node_features(graph: Graph, parts: GraphWeights) -> list[Tensor]:
    """(members, size, len(NAMES)) per node set; zeros where nothing enters or leaves.

    Neurons of a set are described alike whatever their order, so permuting them permutes the rows.
    """
    features = []
    for i, node in enumerate(graph.nodes):
        pairs = list(zip(graph.blocks, parts.weights))
        into = [w.transpose(1, 2).flatten(2) for b, w in pairs if b.target == i]
        out = [w.flatten(1, 2).transpose(1, 2) for b, w in pairs if b.source == i]
        like = parts.bias[i][:, :, None].expand(-1, node.size, len(_SIDE))
        sides = [_describe_side(torch.cat(s, 2)) if s else torch.zeros_like(like) for s in (into, out)]
        features.append(torch.cat([_describe_bias(parts.bias[i], parts.gain[i], into), *sides], 2))
    return features


def _describe_bias(bias: Tensor, gain: Tensor, into: list[Tensor]) -> Tensor:
    """(members, size, 4): the bias in units of a typical incoming weight, its size, the bias itself, log gain."""
    unit = torch.ones_like(bias[:, 0])
    if into:
        unit = torch.stack([w.square().mean((1, 2)).sqrt().clamp_min(1e-8) for w in into]).mean(0)
    relative = _signed_log(bias / unit[:, None])
    return torch.stack([relative, relative.abs(), _signed_log(bias), gain.abs().clamp_min(1e-6).log()], 2)


def _describe_side(weights: Tensor) -> Tensor:
    """(members, size, k) weights of each neuron to (members, size, 5)."""
    norm = weights.norm(dim=2).clamp_min(1e-9).log()
    square = weights.square()
    size = square.mean(2).clamp_min(1e-30)
    peak = (square.square().mean(2) / size.square()).clamp_min(1e-9).log()
    tilt = weights.mean(2) / size.sqrt()
    count = torch.full_like(norm, weights.shape[2]).log()
    return torch.stack([norm, norm - norm.mean(1, keepdim=True), peak, tilt, count], 2)


def _signed_log(values: Tensor) -> Tensor:
    """Keeps the sign and tames what is large."""
    return torch.sign(values) * torch.log1p(values.abs())
