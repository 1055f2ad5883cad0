"""The graph of a network: sets of neurons, blocks of weights between them, and a list of what was left out and why.

`GraphWeights` are the numbers on it for a group of networks of one shape, with norms folded in; `to_canonical_form`
fixes every scale and sign that the function does not see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

# Activations under which a positive factor, or a sign, can move from a neuron's inputs to its outputs.
SCALABLE = {"relu", "leaky_relu", "leaky", "prelu", "identity", "none", "linear"}
ODD = {"tanh", "sin", "erf", "identity", "none", "linear"}


@dataclass(frozen=True)
class NodeSet:
    """Neurons (or channels) that permute together; `identity` sets (inputs, outputs) do not permute."""

    name: str
    size: int
    kind: str = "hidden"  # input | hidden | stream | output
    activation: str = ""  # "" = not known

    @property
    def is_input(self) -> bool:
        """Whether it is what the network is given."""
        return self.kind == "input"

    @property
    def is_output(self) -> bool:
        """Whether it is what the network answers."""
        return self.kind == "output"

    @property
    def is_hidden(self) -> bool:
        """Whether a nonlinearity acts on each of its neurons."""
        return self.kind == "hidden"

    @property
    def is_stream(self) -> bool:
        """Whether it is a residual stream, which every layer adds to."""
        return self.kind == "stream"

    @property
    def identity(self) -> bool:
        """Whether its neurons have names that a permutation must not touch."""
        return self.is_input or self.is_output


@dataclass(frozen=True)
class WeightBlock:
    """All weights between two node sets. `layout` says how the stored tensor becomes (taps, target, source)."""

    kind: str  # linear | conv | gate | embedding | unembedding | mlp_in | mlp_out | qk | vo | lora | skip
    source: int
    target: int
    tensors: tuple[str, ...]
    layout: str = "oi"  # oi | io | conv | spatial | qk | vo | product
    heads: tuple[int, int] = (1, 1)  # query heads, key/value heads
    gain: str = ""  # norm folded into the source side
    gain_shift: str = ""

    @property
    def is_skip(self) -> bool:
        """Whether it carries a set past a layer as it is, without weights of its own."""
        return self.kind == "skip"


@dataclass(frozen=True)
class NodeTensor:
    """One number per neuron of a set: a bias, or the four numbers of a folded norm."""

    role: str  # bias | gain | shift | mean | var
    node: int
    tensor: str


@dataclass(frozen=True)
class Skipped:
    """A tensor that is not part of the graph, and why: what was left out must be said."""

    tensor: str
    reason: str


@dataclass(frozen=True)
class Graph:
    """Sets of neurons, blocks of weights between them, and numbers of neurons such as biases."""

    nodes: tuple[NodeSet, ...]
    blocks: tuple[WeightBlock, ...]
    values: tuple[NodeTensor, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def topology(self) -> tuple:
        """Networks of equal topology can share a batch, whatever their widths."""
        return (
            tuple((n.kind, n.activation) for n in self.nodes),
            tuple((b.kind, b.source, b.target, b.layout) for b in self.blocks),
            tuple((v.role, v.node) for v in self.values),
        )

    @property
    def read(self) -> tuple[str, ...]:
        """Names of the tensors that the graph uses."""
        used = [name for b in self.blocks for name in (*b.tensors, b.gain, b.gain_shift) if name]
        return tuple(dict.fromkeys(used + [v.tensor for v in self.values]))

    def blocks_of(self, kind: str) -> list[WeightBlock]:
        """Its blocks of one kind, in order."""
        return [b for b in self.blocks if b.kind == kind]

    def with_activation(self, activation: str) -> "Graph":
        """The same graph, its hidden neurons said to apply `activation`."""
        nodes = tuple(replace(n, activation=activation) if n.is_hidden else n for n in self.nodes)
        return replace(self, nodes=nodes)


def block_weight(graph: Graph, block: WeightBlock, tensors: Mapping[str, Tensor]) -> Tensor:
    """The block as (members, taps, target, source); every tensor in `tensors` is stacked over members."""
    first = tensors[block.tensors[0]]
    n_target, n_source = graph.nodes[block.target].size, graph.nodes[block.source].size
    if block.layout in ("qk", "vo"):
        weight = _head_products(block, [tensors[name] for name in block.tensors])
    elif block.layout == "product":
        a, b = first.flatten(2), tensors[block.tensors[1]].flatten(2)
        weight = (b @ a).unsqueeze(1)
    elif block.layout == "conv":
        weight = _conv_taps(first, n_source)
    elif block.layout == "spatial":
        weight = first.reshape(len(first), n_target, n_source, -1).permute(0, 3, 1, 2)
    elif block.layout == "io":
        weight = first.flatten(2).transpose(1, 2).unsqueeze(1)
    else:
        weight = first.flatten(2).unsqueeze(1)
    if block.gain:
        gain = tensors[block.gain]
        weight = weight * gain[:, None, None, :]
        if block.layout == "qk":  # queries read the normalized stream too
            weight = weight * gain[:, None, :, None]
    return weight


def _conv_taps(weight: Tensor, n_source: int) -> Tensor:
    """(members, taps, out, in); a grouped convolution becomes its block-diagonal full one."""
    members, n_out, per_group = weight.shape[:3]
    taps = weight.reshape(members, n_out, per_group, -1).permute(0, 3, 1, 2)
    if per_group == n_source:
        return taps
    groups = n_source // per_group
    full = taps.new_zeros(*taps.shape[:3], n_source)
    for g in range(groups):
        rows = slice(g * n_out // groups, (g + 1) * n_out // groups)
        full[:, :, rows, g * per_group : (g + 1) * per_group] = taps[:, :, rows]
    return full


def _head_products(block: WeightBlock, parts: list[Tensor]) -> Tensor:
    """W_Q^T W_K or W_O W_V per head: what attention computes, whatever basis the heads use (invariant under GL)."""
    n_heads, n_shared = block.heads
    if block.layout == "qk":
        query, key = _split_heads(parts[0], n_heads), _split_heads(parts[-1], n_shared)
        key = key.repeat_interleave(n_heads // n_shared, dim=1)
        return query.transpose(-1, -2) @ key / query.shape[2] ** 0.5
    out, value = parts[0], _split_heads(parts[-1], n_shared).repeat_interleave(n_heads // n_shared, dim=1)
    out = out.reshape(len(out), out.shape[1], n_heads, -1).transpose(1, 2)
    return out @ value


def _split_heads(weight: Tensor, heads: int) -> Tensor:
    """(members, heads, size, in) of (members, heads * size, in)."""
    return weight.reshape(len(weight), heads, -1, weight.shape[-1])


# A group of same-shape networks as numbers on its graph: weights per block, values per neuron, norms folded in.

_BATCH_NORM_EPS = 1e-5  # torch's default; the stored weights do not say


@dataclass(frozen=True)
class GraphWeights:
    """`weights[i]` is (members, taps, target, source) of block i; `bias`, `gain` are (members, size) per node set."""

    weights: list[Tensor]
    bias: list[Tensor]
    gain: list[Tensor]


def weigh_graph(graph: Graph, tensors: Mapping[str, Tensor]) -> GraphWeights:
    """Weights of every block and values of every set, from `tensors` stacked over members, with norms folded in.

    Batch norm in evaluation is affine and goes into the weights before it; gains of other norms stay with their set.
    """
    weights = [block_weight(graph, block, tensors) for block in graph.blocks]
    members = len(next(iter(tensors.values())))
    like = weights[0]
    bias = [like.new_zeros(members, node.size) for node in graph.nodes]
    gain = [like.new_ones(members, node.size) for node in graph.nodes]
    for node in range(len(graph.nodes)):
        roles = {v.role: tensors[v.tensor] for v in graph.values if v.node == node and v.role != "bias"}
        for value in graph.values:
            if value.node == node and value.role == "bias":
                bias[node] = bias[node] + tensors[value.tensor]
        if "var" in roles:
            bias[node] = _fold_batch_norm(graph, node, roles, weights, bias[node])
        elif roles:
            gain[node] = gain[node] * roles.get("gain", torch.ones_like(gain[node]))
            bias[node] = bias[node] + roles.get("shift", torch.zeros_like(bias[node]))
    return GraphWeights(weights, bias, gain)


def _fold_batch_norm(
    graph: Graph, node: int, norm: Mapping[str, Tensor], weights: list[Tensor], bias: Tensor
) -> Tensor:
    """Batch norm in evaluation is an affine map per channel: it moves into the weights before it."""
    factor = norm.get("gain", torch.ones_like(bias)) / (norm["var"] + _BATCH_NORM_EPS).sqrt()
    for i, block in enumerate(graph.blocks):
        if block.target == node:
            weights[i] = weights[i] * factor[:, None, :, None]
    return (bias - norm.get("mean", torch.zeros_like(bias))) * factor + norm.get(
        "shift", torch.zeros_like(bias)
    )


def free_sets(graph: Graph) -> dict[int, str]:
    """Node sets whose neurons may be rescaled ("scale") or flipped ("sign") without changing the function."""
    free: dict[int, str] = {}
    for node, described in enumerate(graph.nodes):
        touching = [b for b in graph.blocks if node in (b.source, b.target)]
        plain = all(
            b.kind in ("linear", "conv", "spatial", "skip", "mlp_in", "mlp_out", "lora") for b in touching
        )
        normed = any(v.node == node and v.role in ("gain", "shift") for v in graph.values)
        both = any(b.source == node for b in touching) and any(b.target == node for b in touching)
        layer_norm = normed and not any(v.node == node and v.role == "var" for v in graph.values)
        if not described.is_hidden or not plain or not both or layer_norm:
            continue
        if described.activation in SCALABLE:
            free[node] = "scale"
        elif described.activation in ODD:
            free[node] = "sign"
    return free


def to_canonical_form(graph: Graph, parts: GraphWeights) -> GraphWeights:
    """The same function with every free scale and sign fixed: unit incoming weights, positive skew.

    Two networks that differ by such changes alone become equal, so a reader of canonical form cannot tell them apart.
    """
    weights, bias = list(parts.weights), list(parts.bias)
    for node, freedom in free_sets(graph).items():
        into = [i for i, b in enumerate(graph.blocks) if b.target == node]
        incoming = torch.cat(
            [weights[i].transpose(1, 2).flatten(2) for i in into] + [bias[node][:, :, None]], 2
        )
        factor = _unit_factor(incoming) if freedom == "scale" else _sign_factor(incoming)
        for i, block in enumerate(graph.blocks):
            if block.target == node:
                weights[i] = weights[i] * factor[:, None, :, None]
            if block.source == node:
                weights[i] = weights[i] / factor[:, None, None, :]
        bias[node] = bias[node] * factor
    return replace(parts, weights=weights, bias=bias)


def _unit_factor(incoming: Tensor) -> Tensor:
    """What makes each neuron's incoming weights have length one."""
    return 1 / incoming.norm(dim=2).clamp_min(1e-12)


def _sign_factor(incoming: Tensor) -> Tensor:
    """+1 or -1: the cube makes the sign depend on the large weights, which are far from cancelling."""
    return torch.where(incoming.pow(3).sum(2) < 0, -1.0, 1.0).to(incoming)
