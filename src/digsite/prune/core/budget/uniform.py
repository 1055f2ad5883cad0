"""The same sparsity everywhere: what an allocation must beat."""

from digsite.prune.core.budget import BudgetSettings
from digsite.prune.core.budget_question import Question


def allocate(question: Question, settings: BudgetSettings) -> dict[str, float]:
    return dict.fromkeys(question.sizes, question.sparsity)
