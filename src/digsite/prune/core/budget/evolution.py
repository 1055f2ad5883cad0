"""A small evolutionary search on the model's own answer (after EvoPress, arXiv 2410.14649), with a stated budget.

A child moves sparsity from some maps to others, the total unchanged; the child that is nearest to the dense model
replaces its parent if it is nearer than that. `evaluations` models are tried and no more.
"""

import numpy as np

from digsite.base.streams import derive_seed
from digsite.prune.core.budget import BudgetSettings, meet_exactly
from digsite.prune.core.budget_question import Question

STEP = 0.05  # largest move of one exchange, in sparsity


def allocate(question: Question, settings: BudgetSettings) -> dict[str, float]:
    draw = np.random.default_rng(derive_seed(settings.seed, "prune/evolution"))
    low, high = question.limits(settings.spread)
    best = dict.fromkeys(question.sizes, question.sparsity)
    least, tried = question.divergence(best), 1
    while tried < settings.evaluations:
        n = min(settings.children, settings.evaluations - tried)
        children = [_mutated(best, question, low, high, draw) for _ in range(n)]
        losses = [question.divergence(child) for child in children]
        tried += n
        if min(losses) < least:
            least, best = min(losses), children[int(np.argmin(losses))]
    return best


def _mutated(
    parent: dict[str, float], question: Question, low: float, high: float, draw: np.random.Generator
) -> dict[str, float]:
    """One to three exchanges between two maps, or between the same map of all blocks and another one."""
    child = dict(parent)
    for _ in range(int(draw.integers(1, 4))):
        given, taken = (_some_maps(question, draw) for _ in range(2))
        move = float(draw.uniform(0, STEP))
        for names, sign in ((given, 1), (taken, -1)):
            weights = sum(question.sizes[name] for name in names)
            share = (
                move
                * min(sum(question.sizes[n] for n in given), sum(question.sizes[n] for n in taken))
                / weights
            )
            for name in names:
                child[name] = float(np.clip(child[name] + sign * share, low, high))
    counts = meet_exactly(child, question.sizes, question.sparsity, least=low, most=high)
    return {name: counts[name] / size for name, size in question.sizes.items()}


def _some_maps(question: Question, draw: np.random.Generator) -> list[str]:
    """One map, all maps of a block, or the same map of every block."""
    names = list(question.sizes)
    one = names[int(draw.integers(len(names)))]
    kind = int(draw.integers(3))
    if kind == 0:
        return [one]
    if kind == 1:
        return next(inside for inside in question.blocks.values() if one in inside)
    return [name for name in names if question.component_of(name) == question.component_of(one)]
