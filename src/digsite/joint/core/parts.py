"""Which weights matter, asked of the parts that they belong to: each map's rows and columns, switched off one at a time.

A row of a map is what one neuron or direction receives, a column what one gives: the two ways in which a matrix is a sum of parts
of rank one without any training. A part is worth what the output moves without it, and a weight is worth the lesser of its two
parts: it stays where both its giver and its receiver matter.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.decompose.judge.contestants.known import keep_strongest, split_sparsely

Scores = dict[str, Float[Tensor, "out in"]]


@torch.no_grad()
def score_by_parts(model: nn.Module, maps: Mapping[str, nn.Linear], inputs: Tensor) -> Scores:
    """The lesser importance of each weight's row and column; equal ones are told apart by size."""
    wanted, scores = model(inputs), {}
    for name, layer in maps.items():
        weight = layer.weight.clone()
        rows = [
            _move_without(model, layer, inputs, wanted, (slice(i, i + 1), slice(None)))
            for i in range(weight.shape[0])
        ]
        columns = [
            _move_without(model, layer, inputs, wanted, (slice(None), slice(j, j + 1)))
            for j in range(weight.shape[1])
        ]
        least = torch.minimum(torch.tensor(rows)[:, None], torch.tensor(columns)[None])
        size = weight.abs() / weight.abs().max().clamp_min(1e-12)
        scores[name] = least * (1 + 1e-3 * size) + 1e-9 * size
    return scores


def _move_without(
    model: nn.Module, layer: nn.Linear, inputs: Tensor, wanted: Tensor, part: tuple[slice, slice]
) -> float:
    """How far some output moves when a part of the layer's weight is zero."""
    kept = layer.weight[part].clone()
    if not kept.any():
        return 0.0
    layer.weight[part] = 0
    moved = float((model(inputs) - wanted).abs().max())
    layer.weight[part] = kept
    return moved


@torch.no_grad()
def score_by_sparse_parts(model: nn.Module, maps: Mapping[str, nn.Linear], inputs: Tensor) -> Scores:
    """The same with the decompose room's sparse dictionary of each map as parts: a weight gets what its parts are worth."""
    wanted, scores = model(inputs), {}
    for name, layer in maps.items():
        weight = layer.weight.clone()
        total = torch.zeros_like(weight)
        if weight.any():
            reads, writes = split_sparsely(weight.T)
            for read, write in zip(reads.T, writes):
                part = torch.outer(write, read)
                layer.weight.copy_(weight - part)
                total += float((model(inputs) - wanted).abs().max()) * part.abs()
            layer.weight.copy_(weight)
        scores[name] = total
    return scores


def score_by_attribution(model: nn.Module, maps: Mapping[str, nn.Linear], inputs: Tensor) -> Scores:
    """The rival that is told the same: each weight times the slope of the loss along it, over inputs one by one."""
    total = {name: torch.zeros_like(layer.weight) for name, layer in maps.items()}
    with torch.enable_grad():
        for one in inputs.split(1):
            out = model(one)
            loss = F.cross_entropy(out.flatten(0, 1), out.argmax(-1).flatten())
            slopes = torch.autograd.grad(loss, [layer.weight for layer in maps.values()])
            for (name, layer), slope in zip(maps.items(), slopes):
                total[name] += (slope * layer.weight.detach()).square()
    return total


def keep_largest(scores: Scores, counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Masks that prune `counts` weights of each map, those of the smallest scores."""
    masks = {}
    for name, score in scores.items():
        keep = torch.zeros(score.numel(), dtype=torch.bool)
        keep[score.flatten().topk(score.numel() - counts[name]).indices] = True
        masks[name] = keep.view(score.shape)
    return masks


@torch.no_grad()
def keep_low_rank(maps: Mapping[str, nn.Linear], counts: Mapping[str, int]) -> None:
    """Each map replaced by as many singular parts as take no more numbers than the mask keeps weights; at least one."""
    for name, layer in maps.items():
        kept = layer.weight.numel() - counts[name]
        n = max(1, kept // sum(layer.weight.shape)) if kept else 0
        reads, writes = keep_strongest(layer.weight.T.double(), n)
        layer.weight.copy_((reads @ writes).T.to(layer.weight.dtype))
