"""What a neuron's own weights say of it: how strong, how peaked and how one-sided all that enters and leaves it is."""

import torch
from torch import Tensor

from digsite.read.core.graph import Graph
from digsite.read.core.parts import Parts

_SIDE = ("norm", "relative_norm", "peak", "tilt", "count")
NAMES = (
    "bias",
    "bias_size",
    "bias_absolute",
    "gain",
    *(f"in_{n}" for n in _SIDE),
    *(f"out_{n}" for n in _SIDE),
)


def node_features(graph: Graph, parts: Parts) -> list[Tensor]:
    """(members, size, len(NAMES)) per node set; zeros where nothing enters or leaves.

    Neurons of a set are described alike whatever their order, so permuting them permutes the rows.
    """
    found = []
    for i, node in enumerate(graph.nodes):
        pairs = list(zip(graph.blocks, parts.weights))
        into = [w.transpose(1, 2).flatten(2) for b, w in pairs if b.target == i]
        out = [w.flatten(1, 2).transpose(1, 2) for b, w in pairs if b.source == i]
        like = parts.bias[i][:, :, None].expand(-1, node.size, len(_SIDE))
        sides = [_side(torch.cat(s, 2)) if s else torch.zeros_like(like) for s in (into, out)]
        found.append(torch.cat([_own(parts.bias[i], parts.gain[i], into), *sides], 2))
    return found


def _own(bias: Tensor, gain: Tensor, into: list[Tensor]) -> Tensor:
    """(members, size, 4): the bias in units of a typical incoming weight, its size, the bias itself, log gain."""
    unit = torch.ones_like(bias[:, 0])
    if into:
        unit = torch.stack([w.square().mean((1, 2)).sqrt().clamp_min(1e-8) for w in into]).mean(0)
    relative = _signed_log(bias / unit[:, None])
    return torch.stack([relative, relative.abs(), _signed_log(bias), gain.abs().clamp_min(1e-6).log()], 2)


def _side(weights: Tensor) -> Tensor:
    """(members, size, k) weights of each neuron to (members, size, 5)."""
    norm = weights.norm(dim=2).clamp_min(1e-9).log()
    square = weights.square()
    size = square.mean(2).clamp_min(1e-30)
    peak = (square.square().mean(2) / size.square()).clamp_min(1e-9).log()
    tilt = weights.mean(2) / size.sqrt()
    count = torch.full_like(norm, weights.shape[2]).log()
    return torch.stack([norm, norm - norm.mean(1, keepdim=True), peak, tilt, count], 2)


def _signed_log(values: Tensor) -> Tensor:
    return torch.sign(values) * torch.log1p(values.abs())
