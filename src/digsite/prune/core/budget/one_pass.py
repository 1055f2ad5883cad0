"""Allocations that one pass through the dense model decides: the same everywhere, and by outlying scores."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.prune.core.budget import Allocation, BudgetSettings, Question


class Uniform(Allocation):
    """The same sparsity everywhere: what an allocation must beat."""

    def allocate_sparsity(self, question: Question, settings: BudgetSettings) -> dict[str, float]:
        return dict.fromkeys(question.sizes, question.sparsity)


class Owl(Allocation):
    """OWL: layers with more outlying scores keep more weights (arXiv 2310.05175)."""

    def allocate_sparsity(self, question: Question, settings: BudgetSettings) -> dict[str, float]:
        """One sparsity per block, from the share of its |W| |X| above `threshold` times their mean."""
        shares = [outlier_share(scores, settings.threshold) for scores in question.block_scores().values()]
        ratios = spread_by_outliers(shares, question.sparsity, settings.owl_spread)
        return {
            name: ratio
            for names, ratio in zip(question.blocks.values(), ratios, strict=True)
            for name in names
        }


def outlier_share(scores: list[Float[Tensor, "out in"]], threshold: float) -> float:
    """Percent of a layer's scores above `threshold` times their mean."""
    mean = sum(float(s.double().sum()) for s in scores) / sum(s.numel() for s in scores)
    above = sum(int((s > threshold * mean).sum()) for s in scores)
    return 100.0 * above / sum(s.numel() for s in scores)


def spread_by_outliers(shares: list[float], sparsity: float, spread: float) -> list[float]:
    """A sparsity for every layer: the mean is `sparsity`, the range 2 `spread`, falling with the outlier share."""
    values = np.asarray(shares, dtype=float)
    width = values.max() - values.min()
    if width == 0:
        return [sparsity] * len(values)
    density = (values - values.min()) / width * 2 * spread
    density = density - density.mean() + (1 - sparsity)
    if density.min() <= 0 or density.max() >= 1:
        raise UsageError(
            f"A spread of {spread} around the sparsity {sparsity} leaves (0, 1) in some layer.",
            hint=f"Choose a spread below {min(sparsity, 1 - sparsity) / 2:.2f}.",
        )
    return [float(1 - d) for d in density]
