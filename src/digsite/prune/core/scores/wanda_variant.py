"""Wanda's variant: every row gives up the same share of its summed score, so rows lose different counts."""

import torch
from torch import Tensor

from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.patterns import Pattern, prune_groups
from digsite.prune.core.scores import Decision, Settings, masked
from digsite.prune.core.scores.wanda import score

NEEDS = "norms"
START, TOP, TOLERANCE = 0.4, 0.8, 0.001
__all__ = ["NEEDS", "prune", "score"]


def prune(weight: Tensor, inputs: InputStatistics | None, pattern: Pattern, settings: Settings) -> Decision:
    scores = score(weight, inputs, settings)
    if pattern.structured:
        return masked(weight, prune_groups(scores, pattern))
    pruned, share = _bisect(scores, pattern.ratio)
    return masked(weight, pruned, f"share of the summed score given up: {share:.4f}")


def _bisect(scores: Tensor, ratio: float) -> tuple[Tensor, float]:
    """The share alpha whose mask has the wanted sparsity, found by halving [0, 0.8] from 0.4."""
    ascending = scores.sort(dim=-1, stable=True).values
    cumulative, total = ascending.cumsum(dim=1), scores.sum(dim=1)
    share, low, high = START, 0.0, TOP
    while True:
        pruned = _give_up(share, scores, ascending, cumulative, total)
        sparsity = pruned.sum() / pruned.numel()
        if abs(sparsity - ratio) <= TOLERANCE or high - low < TOLERANCE:
            return pruned, share
        if sparsity > ratio:
            share, high = (share + low) / 2.0, share
        else:
            share, low = (share + high) / 2.0, share


def _give_up(share: float, scores: Tensor, ascending: Tensor, cumulative: Tensor, total: Tensor) -> Tensor:
    last = (cumulative <= (total * share).reshape(-1, 1)).sum(dim=1, keepdim=True) - 1
    # A row whose smallest score is already too much gives up nothing.
    threshold = torch.where(last < 0, -torch.inf, ascending.gather(1, last.clamp(min=0)))
    return scores <= threshold
