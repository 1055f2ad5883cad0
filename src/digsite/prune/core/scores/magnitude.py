"""Magnitude: the smallest weights of the whole matrix go; no inputs are looked at."""

from torch import Tensor

from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.patterns import Pattern, prune_groups, prune_together
from digsite.prune.core.scores import Decision, Settings, masked

NEEDS = ""


def score(weight: Tensor, inputs: InputStatistics | None, settings: Settings) -> Tensor:
    return weight.abs()


def prune(weight: Tensor, inputs: InputStatistics | None, pattern: Pattern, settings: Settings) -> Decision:
    scores = score(weight, inputs, settings)
    if pattern.structured:
        return masked(weight, prune_groups(scores, pattern))
    return masked(weight, prune_together(scores, pattern.ratio))
