"""Wanda: weight magnitude times input norm, compared inside each output row (arXiv 2306.11695)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.patterns import Pattern, prune_groups, prune_rows
from digsite.prune.core.scores import Decision, Settings, masked

NEEDS = "norms"
ROWS = 32  # of a block: 1.4 MB of scores for 11008 inputs


def score(weight: Tensor, inputs: InputStatistics | None, settings: Settings) -> Tensor:
    assert inputs is not None
    return weight.abs() * inputs.norms.reshape(1, -1)


def prune(weight: Tensor, inputs: InputStatistics | None, pattern: Pattern, settings: Settings) -> Decision:
    if pattern.structured:
        return masked(weight, prune_groups(score(weight, inputs, settings), pattern))
    assert inputs is not None
    return masked(weight, row_mask(weight, inputs.norms, pattern.ratio))


def row_mask(
    weight: Float[Tensor, "out in"], norms: Float[Tensor, "in"], ratio: float
) -> Bool[Tensor, "out in"]:
    """True where a weight goes. Rows are taken a block at a time into one buffer, so scores never leave the cache."""
    pruned = torch.empty(weight.shape, dtype=torch.bool, device=weight.device)
    scores = torch.empty(
        ROWS, weight.shape[1], dtype=torch.promote_types(weight.dtype, norms.dtype), device=weight.device
    )
    for start in range(0, len(weight), ROWS):
        rows = weight[start : start + ROWS]
        block = torch.mul(rows, norms, out=scores[: len(rows)]).abs_()
        prune_rows(block, ratio, out=pruned[start : start + ROWS])
    return pruned
