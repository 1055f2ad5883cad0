"""What training left of the initial weights: quiet inputs, angles between neurons, and what gradient flow conserves."""

import torch
from torch import Tensor

from digsite.read.core.parts import Parts, parts_of
from digsite.read.core.population import Group
from digsite.read.core.readers.neurons import digest, weight_shape
from digsite.read.core.table import Columns, by_layer, join

INVARIANT = ("permutation",)
_POOLS = 8
_DIGEST = ("q0", "q25", "q50", "q75", "q100", "mean", "std")
_SHAPE = ("log_std", "log_kurtosis", "peak", "a10", "a25", "a50", "a75", "a90", "a99")


def extract(group: Group) -> Columns:
    parts = parts_of(group.graph, group.tensors)
    matrices = [w.double().transpose(1, 2).flatten(2) for w in parts.weights]
    names = ["angle_std", *(f"angle_{q}" for q in ("q10", "q25", "q50", "q75"))]
    made = [by_layer(names, [_angles(m).numpy() for m in matrices])]
    balances = [b for i in range(len(matrices)) if (b := _balance(group, parts, i)) is not None]
    if balances:
        made.append(by_layer([f"balance_{d}" for d in _DIGEST], [b.numpy() for b in balances]))
    pools = _quiet(matrices[0])
    return join(
        *made, ([f"quiet{i}_{n}" for i in range(len(pools)) for n in _SHAPE], torch.cat(pools, 1).numpy())
    )


def _angles(matrix: Tensor) -> Tensor:
    """Between the rows: orthogonal starts keep them close to right ones."""
    unit = matrix / matrix.norm(dim=2, keepdim=True).clamp_min(1e-12)
    count = matrix.shape[1]
    cosine = (unit @ unit.transpose(1, 2))[:, *torch.triu_indices(count, count, 1)]
    if count < 2:
        return cosine.new_zeros(len(matrix), 5)
    at = torch.tensor([0.1, 0.25, 0.5, 0.75], dtype=cosine.dtype)
    spread = cosine.std(1, correction=0, keepdim=True).clamp_min(1e-9)
    return torch.cat([spread, cosine.abs().quantile(at, dim=1).T.clamp_min(1e-9)], 1).log()


def _balance(group: Group, parts: Parts, index: int) -> Tensor | None:
    """Squared norm into each neuron less that out of it, which gradient flow through a ReLU leaves as it began."""
    node = group.graph.blocks[index].target
    leaving = [w for w, b in zip(parts.weights, group.graph.blocks) if b.source == node != b.target]
    if not leaving:
        return None
    into = parts.weights[index].double().square().sum((1, 3)) + parts.bias[node].double().square()
    return digest(into - sum(w.double().square().sum((1, 2)) for w in leaving))


def _quiet(matrix: Tensor) -> list[Tensor]:
    """Shapes of the weights of each eighth of the inputs, the least spread first: rare inputs hardly moved theirs."""
    order = matrix.std(1, correction=0).argsort(1)
    pools = []
    for at in torch.arange(order.shape[1]).tensor_split(_POOLS):
        if len(at):
            chosen = order[:, None, at].expand(-1, matrix.shape[1], -1)
            pools.append(weight_shape(matrix.gather(2, chosen).flatten(1)))
    return pools
