"""OWL: layers with more outlying scores keep more weights (arXiv 2310.05175)."""

from digsite.prune.core import allocation
from digsite.prune.core.budget import BudgetSettings
from digsite.prune.core.budget_question import Question


def allocate(question: Question, settings: BudgetSettings) -> dict[str, float]:
    """One sparsity per block, from the share of its |W| |X| above `threshold` times their mean."""
    shares = [
        allocation.outlier_share(scores, settings.threshold) for scores in question.block_scores().values()
    ]
    ratios = allocation.owl(shares, question.sparsity, settings.owl_spread)
    return {
        name: ratio for names, ratio in zip(question.blocks.values(), ratios, strict=True) for name in names
    }
