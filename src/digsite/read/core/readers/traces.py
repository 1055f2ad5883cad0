"""What training left of the initial weights: quiet inputs, angles between neurons, and what gradient flow conserves."""

import torch
from torch import Tensor

from digsite.read.core.graph import GraphWeights, weigh_graph
from digsite.read.core.population import Columns, NetworkGroup, by_layer, join_columns
from digsite.read.core.readers.neurons import digest_neurons, weight_shape

INVARIANT = ("permutation",)
IN_FEATURES = 5
_POOLS = 8
_DIGEST = ("q0", "q25", "q50", "q75", "q100", "mean", "std")
_SHAPE = ("log_std", "log_kurtosis", "peak", "a10", "a25", "a50", "a75", "a90", "a99")


def extract_traces(group: NetworkGroup) -> Columns:
    """Columns that remember the start of training: angles between neurons, conserved balances, inputs that hardly moved."""
    parts = weigh_graph(group.graph, group.tensors)
    matrices = [w.double().transpose(1, 2).flatten(2) for w in parts.weights]
    names = ["angle_std", *(f"angle_{q}" for q in ("q10", "q25", "q50", "q75"))]
    made = [by_layer(names, [_measure_angles(m).numpy() for m in matrices])]
    balances = [b for i in range(len(matrices)) if (b := _measure_balance(group, parts, i)) is not None]
    if balances:
        made.append(by_layer([f"balance_{d}" for d in _DIGEST], [b.numpy() for b in balances]))
    pools = _pool_quiet_inputs(matrices[0])
    return join_columns(
        *made, ([f"quiet{i}_{n}" for i in range(len(pools)) for n in _SHAPE], torch.cat(pools, 1).numpy())
    )


def _measure_angles(matrix: Tensor) -> Tensor:
    """Between the rows: orthogonal starts keep them close to right ones."""
    unit = matrix / matrix.norm(dim=2, keepdim=True).clamp_min(1e-12)
    count = matrix.shape[1]
    cosine = (unit @ unit.transpose(1, 2))[:, *torch.triu_indices(count, count, 1)]
    if count < 2:
        return cosine.new_zeros(len(matrix), 5)
    at = torch.tensor([0.1, 0.25, 0.5, 0.75], dtype=cosine.dtype)
    spread = cosine.std(1, correction=0, keepdim=True).clamp_min(1e-9)
    return torch.cat([spread, cosine.abs().quantile(at, dim=1).T.clamp_min(1e-9)], 1).log()


def _measure_balance(group: NetworkGroup, parts: GraphWeights, index: int) -> Tensor | None:
    """Squared norm into each neuron less that out of it, which gradient flow through a ReLU leaves as it began."""
    node = group.graph.blocks[index].target
    leaving = [w for w, b in zip(parts.weights, group.graph.blocks) if b.source == node != b.target]
    if not leaving:
        return None
    into = parts.weights[index].double().square().sum((1, 3)) + parts.bias[node].double().square()
    return digest_neurons(into - sum(w.double().square().sum((1, 2)) for w in leaving))


def _pool_quiet_inputs(matrix: Tensor) -> list[Tensor]:
    """Shapes of the weights of each eighth of the inputs, the least spread first: rare inputs hardly moved theirs."""
    order = matrix.std(1, correction=0).argsort(1)
    pools = []
    for at in torch.arange(order.shape[1]).tensor_split(_POOLS):
        if len(at):
            chosen = order[:, None, at].expand(-1, matrix.shape[1], -1)
            pools.append(weight_shape(matrix.gather(2, chosen).flatten(1)))
    return pools
