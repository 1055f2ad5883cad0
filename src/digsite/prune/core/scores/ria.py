"""RIA: weight relative to its row's and its column's sum, times a power of the input norm (Zhang et al., ICLR 2024)."""

from torch import Tensor

from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.patterns import Pattern, prune_groups, prune_rows, prune_together
from digsite.prune.core.scores import Decision, Settings, masked

NEEDS = "norms"


def score(weight: Tensor, inputs: InputStatistics | None, settings: Settings) -> Tensor:
    assert inputs is not None
    size = weight.abs()
    relative = size / size.sum(dim=0) + size / size.sum(dim=1).reshape(-1, 1)
    # A row or column of zeros is 0/0: such a weight is worth nothing.
    return relative.nan_to_num(0.0) * inputs.norms.reshape(1, -1) ** settings.power


def prune(weight: Tensor, inputs: InputStatistics | None, pattern: Pattern, settings: Settings) -> Decision:
    scores = score(weight, inputs, settings)
    if pattern.structured:
        return masked(weight, prune_groups(scores, pattern))
    choose = prune_rows if settings.per_row else prune_together
    return masked(weight, choose(scores, pattern.ratio))
