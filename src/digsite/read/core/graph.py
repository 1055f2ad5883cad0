"""The graph of a network: sets of neurons, blocks of weights between them, and a list of what was left out and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
    def identity(self) -> bool:
        return self.kind in ("input", "output")


@dataclass(frozen=True)
class Block:
    """All weights between two node sets. `layout` says how the stored tensor becomes (taps, target, source)."""

    kind: str  # linear | conv | gate | embedding | unembedding | mlp_in | mlp_out | qk | vo | lora
    source: int
    target: int
    tensors: tuple[str, ...]
    layout: str = "oi"  # oi | io | conv | spatial | qk | vo | product
    heads: tuple[int, int] = (1, 1)  # query heads, key/value heads
    gain: str = ""  # norm folded into the source side
    gain_shift: str = ""


@dataclass(frozen=True)
class NodeTensor:
    """One number per neuron of a set: a bias, or the four numbers of a folded norm."""

    role: str  # bias | gain | shift | mean | var
    node: int
    tensor: str


@dataclass(frozen=True)
class Skipped:
    tensor: str
    reason: str


@dataclass(frozen=True)
class Graph:
    nodes: tuple[NodeSet, ...]
    blocks: tuple[Block, ...]
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

    def with_activation(self, activation: str) -> "Graph":
        """The same graph, its hidden neurons said to apply `activation`."""
        nodes = tuple(replace(n, activation=activation) if n.kind == "hidden" else n for n in self.nodes)
        return replace(self, nodes=nodes)


def block_weight(graph: Graph, block: Block, tensors: Mapping[str, Tensor]) -> Tensor:
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


def _head_products(block: Block, parts: list[Tensor]) -> Tensor:
    """W_Q^T W_K or W_O W_V per head: what attention computes, whatever basis the heads use (invariant under GL)."""
    n_heads, n_shared = block.heads
    if block.layout == "qk":
        query, key = _split(parts[0], n_heads), _split(parts[-1], n_shared)
        key = key.repeat_interleave(n_heads // n_shared, dim=1)
        return query.transpose(-1, -2) @ key / query.shape[2] ** 0.5
    out, value = parts[0], _split(parts[-1], n_shared).repeat_interleave(n_heads // n_shared, dim=1)
    out = out.reshape(len(out), out.shape[1], n_heads, -1).transpose(1, 2)
    return out @ value


def _split(weight: Tensor, heads: int) -> Tensor:
    return weight.reshape(len(weight), heads, -1, weight.shape[-1])
