"""A group of same-shape networks as numbers on its graph: weights per block, values per neuron, norms folded in."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from digsite.read.core.graph import ODD, SCALABLE, Graph, block_weight

_BATCH_NORM_EPS = 1e-5  # torch's default; the stored weights do not say


@dataclass(frozen=True)
class Parts:
    """`weights[i]` is (members, taps, target, source) of block i; `bias`, `gain` are (members, size) per node set."""

    weights: list[Tensor]
    bias: list[Tensor]
    gain: list[Tensor]


def parts_of(graph: Graph, tensors: dict[str, Tensor]) -> Parts:
    weights = [block_weight(graph, block, tensors) for block in graph.blocks]
    members = len(next(iter(tensors.values())))
    like = weights[0]
    bias = [like.new_zeros(members, node.size) for node in graph.nodes]
    gain = [like.new_ones(members, node.size) for node in graph.nodes]
    for node in range(len(graph.nodes)):
        mine = {v.role: tensors[v.tensor] for v in graph.values if v.node == node and v.role != "bias"}
        for value in graph.values:
            if value.node == node and value.role == "bias":
                bias[node] = bias[node] + tensors[value.tensor]
        if "var" in mine:
            bias[node] = _fold_batch_norm(graph, node, mine, weights, bias[node])
        elif mine:
            gain[node] = gain[node] * mine.get("gain", torch.ones_like(gain[node]))
            bias[node] = bias[node] + mine.get("shift", torch.zeros_like(bias[node]))
    return Parts(weights, bias, gain)


def _fold_batch_norm(
    graph: Graph, node: int, norm: dict[str, Tensor], weights: list[Tensor], bias: Tensor
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
        if described.kind != "hidden" or not plain or not both or layer_norm:
            continue
        if described.activation in SCALABLE:
            free[node] = "scale"
        elif described.activation in ODD:
            free[node] = "sign"
    return free


def canonical(graph: Graph, parts: Parts) -> Parts:
    """The same function with every free scale and sign fixed: unit incoming weights, positive skew."""
    weights, bias = list(parts.weights), list(parts.bias)
    for node, freedom in free_sets(graph).items():
        into = [i for i, b in enumerate(graph.blocks) if b.target == node]
        incoming = torch.cat(
            [weights[i].transpose(1, 2).flatten(2) for i in into] + [bias[node][:, :, None]], 2
        )
        factor = _unit(incoming) if freedom == "scale" else _positive(incoming)
        for i, block in enumerate(graph.blocks):
            if block.target == node:
                weights[i] = weights[i] * factor[:, None, :, None]
            if block.source == node:
                weights[i] = weights[i] / factor[:, None, None, :]
        bias[node] = bias[node] * factor
    return replace(parts, weights=weights, bias=bias)


def _unit(incoming: Tensor) -> Tensor:
    return 1 / incoming.norm(dim=2).clamp_min(1e-12)


def _positive(incoming: Tensor) -> Tensor:
    """+1 or -1: the cube makes the sign depend on the large weights, which are far from cancelling."""
    return torch.where(incoming.pow(3).sum(2) < 0, -1.0, 1.0).to(incoming)
