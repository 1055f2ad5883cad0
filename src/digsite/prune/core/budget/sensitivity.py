"""By measured sensitivity: what pruning one map alone does to the model's answer decides what it may lose.

Every map is pruned alone at a few sparsities and the divergence from the dense model is read; then the cheapest next
slice, in divergence per weight, is given up again and again until the budget is met. Curves are made convex first, since
a greedy choice is only the best one on convex curves.
"""

import numpy as np

from digsite.prune.core.budget import BudgetSettings
from digsite.prune.core.budget_question import Question

POINTS = 5  # sparsities at which every map is tried


def allocate(question: Question, settings: BudgetSettings) -> dict[str, float]:
    low, high = question.limits(settings.spread)
    grid = np.linspace(low, high, POINTS)
    slices = []  # (divergence per weight, map, weights)
    for name, size in question.sizes.items():
        curve = np.array([question.divergence({name: float(ratio)}) for ratio in grid])
        for step, slope in enumerate(convex_slopes(curve)):
            slices.append((slope / size, step, name, size * (grid[step + 1] - grid[step])))
    counts = {name: low * size for name, size in question.sizes.items()}
    missing = question.sparsity * sum(question.sizes.values()) - sum(counts.values())
    for _, _, name, weights in sorted(slices):
        taken = min(weights, missing)
        counts[name] += taken
        missing -= taken
        if missing <= 0:
            break
    return {name: counts[name] / size for name, size in question.sizes.items()}


def convex_slopes(curve: np.ndarray) -> np.ndarray:
    """Differences of the curve's lower convex hull, so that they never fall."""
    hull = curve.astype(float).copy()
    n = len(curve)
    for i in range(1, n - 1):
        below = min(
            (curve[a] + (curve[b] - curve[a]) * (i - a) / (b - a) for a in range(i) for b in range(i + 1, n)),
            default=curve[i],
        )
        hull[i] = min(curve[i], below)
    return np.diff(hull)
