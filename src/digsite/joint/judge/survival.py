"""Graft, take out again, compare; and whether a graft lives through pruning and quantization."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from digsite.graft.core.edits import ReadingGraft, Shifted, copy_model, widen_head
from digsite.graft.core.nets import find_head, find_head_name, has_same_shape, list_layers, predict_logits
from digsite.prune import prune_matrix


def removed(model: nn.Module, new: list[int]) -> nn.Module:
    """The graft taken out: an added part is dropped, a head row is silenced; moved weights stay moved."""
    if isinstance(model, Shifted | ReadingGraft):
        return removed(model.base, new)
    name = find_head_name(model)
    copy = copy_model(widen_head(model, name, new))
    last = find_head(copy, name)
    last.weight.data[new], last.bias.data[new] = 0.0, -1e4
    return copy


@dataclass(frozen=True)
class Difference:
    """How far a network is from another one of its shape."""

    agreement: float  # percent of inputs called alike
    logit_distance: float  # root mean square over the compared classes
    weight_distance: float  # relative, all layers but the head


@torch.no_grad()
def compare(a: nn.Module, b: nn.Module, x: Tensor, classes: list[int]) -> Difference:
    out_a, out_b = predict_logits(a, x), predict_logits(b, x)
    same = (out_a.argmax(1) == out_b.argmax(1)).float().mean()
    gap = (out_a[:, classes] - out_b[:, classes]).square().mean().sqrt()
    return Difference(100 * float(same), float(gap), _weight_distance(a, b))


def _weight_distance(a: nn.Module, b: nn.Module) -> float:
    """Not a number between networks of two shapes."""
    if not has_same_shape(a, b):
        return float("nan")
    pairs = list(zip(list_layers(a).values(), list_layers(b).values()))[:-1]
    moved = torch.stack([(p.weight - q.weight).square().sum() for p, q in pairs]).sum()
    size = torch.stack([p.weight.square().sum() for p, _ in pairs]).sum()
    return float((moved / size).sqrt())


@torch.no_grad()
def pruned(model: nn.Module, share: float) -> nn.Module:
    """The `share` smallest weights of each layer but the head set to zero, by the prune room's own magnitude."""
    copy = copy_model(model)
    if not share:
        return copy
    for name, layer in list(list_layers(copy).items())[:-1]:
        flat = layer.weight.flatten(1)
        layer.weight.copy_(
            prune_matrix(flat, None, "magnitude", share, name=name).weight.view_as(layer.weight)
        )
    return copy


@torch.no_grad()
def quantized(model: nn.Module, bits: int) -> nn.Module:
    """Weights rounded to `bits` bits, one scale per row (symmetric)."""
    copy = copy_model(model)
    steps = 2 ** (bits - 1) - 1
    for layer in list_layers(copy).values():
        flat = layer.weight.flatten(1)
        scale = flat.abs().amax(1, keepdim=True).clamp_min(1e-12) / steps
        layer.weight.copy_(((flat / scale).round() * scale).reshape(layer.weight.shape))
    return copy
