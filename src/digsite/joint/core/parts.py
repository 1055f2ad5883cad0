"""Which weights matter, asked of the parts that they belong to: each map's rows and columns, switched off one at a time.

A row of a map is what one neuron or direction receives, a column what one gives: the two ways in which a matrix is a sum of parts
of rank one without any training. A part is worth what the output moves without it, and a weight is worth the lesser of its two
parts: it stays where both its giver and its receiver matter.
"""

from collections.abc import Callable, Mapping

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
        for row in inputs.split(1):
            out = model(row)
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


# Of a language model, whose outputs are distributions: what an output moves by is a divergence, and bytes are counted.

BITS = 16  # of a stored number; a mask takes one more bit for every weight, kept or not


@torch.no_grad()
def price_parts(
    measure: Callable[[], float], layer: nn.Linear
) -> tuple[Float[Tensor, " out"], Float[Tensor, " in"]]:
    """What `measure()` says with each row, and with each column, of the layer switched off alone."""
    priced = []
    for axis in (0, 1):
        values = []
        for index in range(layer.weight.shape[axis]):
            line = layer.weight.select(axis, index)
            kept = line.clone()
            line.zero_()
            values.append(measure())
            line.copy_(kept)
        priced.append(torch.tensor(values).clamp_min(0))
    return priced[0], priced[1]


def lesser_part(weight: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """As on the programs: the lesser of a weight's two parts, equal ones by size."""
    return torch.minimum(rows[:, None], columns[None]) * (1 + 1e-3 * weight.abs() / weight.abs().max())


def share_of_parts(weight: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A weight gets its share of both its parts, by its square: the geometric mean of the two shares."""
    squared = weight.square()
    by_row = rows[:, None] * squared / squared.sum(1, keepdim=True).clamp_min(1e-20)
    by_column = columns[None] * squared / squared.sum(0, keepdim=True).clamp_min(1e-20)
    return (by_row * by_column).sqrt()


def keep_whole_parts(rows: Tensor, columns: Tensor, numbers: float) -> Tensor:
    """A mask that leaves at most `numbers` weights, as whole rows and columns: the ones worth least for each number go first."""
    on_rows, on_columns = torch.ones(len(rows)), torch.ones(len(columns))
    left_rows, left_columns = rows.argsort().tolist(), columns.argsort().tolist()
    while on_rows.sum() * on_columns.sum() > numbers:
        row = rows[left_rows[0]] / on_columns.sum() if left_rows else torch.inf
        column = columns[left_columns[0]] / on_rows.sum() if left_columns else torch.inf
        if row <= column:
            on_rows[left_rows.pop(0)] = 0
        else:
            on_columns[left_columns.pop(0)] = 0
    return torch.outer(on_rows, on_columns) > 0


def share_of_bytes(sparsity: float) -> float:
    """What a masked matrix takes of a whole one: its kept weights, and a bit for every weight that says whether it is kept."""
    return 1 - sparsity + 1 / BITS
