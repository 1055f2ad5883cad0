"""Scores of single weights: their size alone (magnitude), times the norm of their input (Wanda), or relative (RIA)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.patterns import SparsityPattern, prune_groups, prune_rows, prune_together
from digsite.prune.core.scores import Decision, WeightScore, mask_weight

ROWS = 32  # of a block: 1.4 MB of scores for 11008 inputs
# Where the search for Wanda's variant begins, its upper end, and how exact the sparsity has to be: as published.
START, TOP, TOLERANCE = 0.4, 0.8, 0.001


class Magnitude(WeightScore):
    """Magnitude: the smallest weights of the whole matrix go; no inputs are looked at."""

    def score_weights(self, weight: Tensor, inputs: InputStatistics | None) -> Tensor:
        """|w|."""
        return weight.abs()


class Wanda(WeightScore):
    """Wanda: weight magnitude times input norm, compared inside each output row (arXiv 2306.11695)."""

    NEEDS = "norms"

    def score_weights(self, weight: Tensor, inputs: InputStatistics | None) -> Tensor:
        """|w_ij| |X_j|: how much of the output's energy a weight can carry (arXiv 2306.11695)."""
        assert inputs is not None, "Wanda reads the norms of the inputs"
        return weight.abs() * inputs.norms.reshape(1, -1)

    def prune_weight(
        self, weight: Tensor, inputs: InputStatistics | None, pattern: SparsityPattern
    ) -> Decision:
        """Rows compete within themselves, which is most of what Wanda is; the product is never written to
        memory.
        """
        if pattern.structured:
            return mask_weight(weight, prune_groups(self.score_weights(weight, inputs), pattern))
        assert inputs is not None, "Wanda reads the norms of the inputs"
        return mask_weight(weight, row_mask(weight, inputs.norms, pattern.ratio))


def row_mask(
    weight: Float[Tensor, "out in"], norms: Float[Tensor, "in"], ratio: float
) -> Bool[Tensor, "out in"]:
    """Wanda's mask, True where a weight goes: the floor(in * `ratio`) lowest |`weight`| * `norms` of every row.

    Rows are taken a block at a time into one buffer, so scores never leave the cache.
    """
    pruned = torch.empty(weight.shape, dtype=torch.bool, device=weight.device)
    scores = torch.empty(
        ROWS, weight.shape[1], dtype=torch.promote_types(weight.dtype, norms.dtype), device=weight.device
    )
    for start in range(0, len(weight), ROWS):
        rows = weight[start : start + ROWS]
        block = torch.mul(rows, norms, out=scores[: len(rows)]).abs_()
        prune_rows(block, ratio, out=pruned[start : start + ROWS])
    return pruned


class WandaVariant(WeightScore):
    """Wanda's variant: every row gives up the same share of its summed score, so rows lose different counts."""

    NEEDS = "norms"

    def score_weights(self, weight: Tensor, inputs: InputStatistics | None) -> Tensor:
        """The same score; the variant is in how many go from each row."""
        return Wanda().score_weights(weight, inputs)

    def prune_weight(
        self, weight: Tensor, inputs: InputStatistics | None, pattern: SparsityPattern
    ) -> Decision:
        """Each row gives up an equal share of its summed score; the share is found by bisection."""
        scores = self.score_weights(weight, inputs)
        if pattern.structured:
            return mask_weight(weight, prune_groups(scores, pattern))
        pruned, share = _bisect_share(scores, pattern.ratio)
        return mask_weight(weight, pruned, f"share of the summed score given up: {share:.4f}")


def _bisect_share(scores: Tensor, ratio: float) -> tuple[Tensor, float]:
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
    """True where a weight goes when a row gives up `share` of its `total`."""
    last = (cumulative <= (total * share).reshape(-1, 1)).sum(dim=1, keepdim=True) - 1
    # A row whose smallest score is already too much gives up nothing.
    threshold = torch.where(last < 0, -torch.inf, ascending.gather(1, last.clamp(min=0)))
    return scores <= threshold


@dataclass(frozen=True)
class RiaSettings:
    """Numbers of the score, with the published defaults."""

    power: float = 0.5  # exponent of the activation norm
    per_row: bool = False  # compare inside a row instead of the whole matrix


class Ria(WeightScore):
    """RIA: weight relative to its row's and its column's sum, times a power of the input norm (Zhang et al., ICLR 2024)."""

    NEEDS = "norms"
    Settings = RiaSettings

    def score_weights(self, weight: Tensor, inputs: InputStatistics | None) -> Tensor:
        """(|w| / column sum + |w| / row sum) |X_j|^power: a weight's importance relative to its neighbors
        (arXiv 2402.10038).
        """
        assert inputs is not None, "RIA reads the norms of the inputs"
        size = weight.abs()
        relative = size / size.sum(dim=0) + size / size.sum(dim=1).reshape(-1, 1)
        # A row or column of zeros is 0/0: such a weight is worth nothing.
        return relative.nan_to_num(0.0) * inputs.norms.reshape(1, -1) ** self.settings.power

    def choose_pruned(self, scores: Tensor, ratio: float) -> Tensor:
        """Over the whole matrix, or row by row where the settings say so."""
        return (prune_rows if self.settings.per_row else prune_together)(scores, ratio)
