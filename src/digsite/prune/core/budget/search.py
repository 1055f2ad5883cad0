"""Allocations that one pass decides, and those that ask the model: what pruning one map does to its answer, a search."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.prune.core.budget import Allocation, BudgetSettings, Question, meet_exactly


class Uniform(Allocation):
    """The same sparsity everywhere: what an allocation must beat."""

    def allocate_sparsity(self, question: Question, settings: BudgetSettings) -> dict[str, float]:
        """Every map the same, whatever it is for."""
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


def outlier_share(scores: list[Float[Tensor, "_ _"]], threshold: float) -> float:
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
            f"A spread of {spread} around the sparsity {sparsity} asks some layer for all of its weights, or for none.",
            hint=f"Choose a spread below {min(sparsity, 1 - sparsity) / 2:.2g}.",
        )
    return [float(1 - d) for d in density]


POINTS = 5  # sparsities at which every map is tried alone
STEP = 0.05  # largest move of one exchange of the evolution, in sparsity


class Sensitivity(Allocation):
    """By measured sensitivity: what pruning one map alone does to the model's answer decides what it may lose.

    Every map is pruned alone at a few sparsities and the divergence from the dense model is read; then the cheapest next
    slice, in divergence per weight, is given up again and again until the budget is met. Curves are made convex first,
    since a greedy choice is only the best one on convex curves.
    """

    def allocate_sparsity(self, question: Question, settings: BudgetSettings) -> dict[str, float]:
        """One curve of divergences a map, then a greedy purchase over all slices by what each costs per weight."""
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


class Evolution(Allocation):
    """A small evolutionary search on the model's own answer (after EvoPress, arXiv 2410.14649), with a stated budget.

    A child moves sparsity from some maps to others, the total unchanged; the child that is nearest to the dense model
    replaces its parent if it is nearer than that. `evaluations` models are tried and no more.
    """

    def allocate_sparsity(self, question: Question, settings: BudgetSettings) -> dict[str, float]:
        """The best model of at most `evaluations` tried ones; the parent is kept where no child is better."""
        draw = np.random.default_rng(derive_seed(settings.seed, "prune/evolution"))
        low, high = question.limits(settings.spread)
        best = dict.fromkeys(question.sizes, question.sparsity)
        least, tried = question.divergence(best), 1
        while tried < settings.evaluations:
            n = min(settings.children, settings.evaluations - tried)
            children = [_mutate_ratios(best, question, low, high, draw) for _ in range(n)]
            losses = [question.divergence(child) for child in children]
            tried += n
            if min(losses) < least:
                least, best = min(losses), children[int(np.argmin(losses))]
        return best


def _mutate_ratios(
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
    chosen = names[int(draw.integers(len(names)))]
    reach = ("map", "block", "every block")[int(draw.integers(3))]
    if reach == "map":
        return [chosen]
    if reach == "block":
        return next(inside for inside in question.blocks.values() if chosen in inside)
    return [name for name in names if question.component_of(name) == question.component_of(chosen)]
