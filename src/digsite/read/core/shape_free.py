"""Reading networks of any shape: a fixed row of numbers whatever the family, and intervals that hold over *recipes*.

A reader that is bound to its zoo's shapes refuses a stranger. Here every block of weights is described beside what a
random matrix of its shape would show, so that a number means the same in an MLP and in a transformer, and the blocks are
pooled to first, last, mean and extremes, so that depth does not matter. Intervals of one zoo hold for networks of that
zoo; a stranger comes from another recipe. They are therefore calibrated by leaving whole recipes out, with every recipe
counting the same and the next one possibly worse than all (hierarchical conformal prediction, after Dunn et al. 2022).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from digsite.read.core.graph import weigh_graph
from digsite.read.core.population import Columns, NetworkGroup, Population, tabulate_features
from digsite.read.core.readers.spectra import singular_values
from digsite.read.core.trees import Forest, grow_regression

NUMBERS = ("scale", "top", "rank", "kurtosis", "tilt", "row_spread", "column_spread", "zeros", "bias")
_POOLED = ("first", "last", "mean", "low", "high")


def extract_shape_free(group: NetworkGroup) -> Columns:
    """Columns (members, 5 x 9 + 2) that every network has: nine numbers of each block pooled, depth, and size."""
    parts = weigh_graph(group.graph, group.tensors)
    blocks = []
    for block, weight in zip(group.graph.blocks, parts.weights):
        matrix = weight.double().transpose(1, 2).flatten(2)
        blocks.append(_describe_block(matrix, parts.bias[block.target].double()))
    stack = torch.stack(blocks, 1)  # (members, blocks, 9)
    pooled = [stack[:, 0], stack[:, -1], stack.mean(1), stack.amin(1), stack.amax(1)]
    size = math.log(sum(t[0].numel() for t in group.tensors.values()))
    ends = torch.tensor([math.log(len(blocks)), size], dtype=torch.float64).expand(len(stack), 2)
    names = [f"{pool}/{number}" for pool in _POOLED for number in NUMBERS] + ["depth", "size"]
    return names, torch.cat([*pooled, ends], 1).numpy()


def _describe_block(
    matrix: Float[Tensor, "members targets sources"], bias: Float[Tensor, "members targets"]
) -> Float[Tensor, "members 9"]:
    """Nine numbers of one block, each near a constant for random matrices of any shape.

    Scale is in units of 1 / sqrt(inputs), as initial schemes have it; the first singular value in units of the edge that
    random entries reach, sigma (sqrt(rows) + sqrt(columns)); the rank as a share of the smaller side.
    """
    rows, columns = matrix.shape[1:]
    sigma = matrix.square().mean((1, 2)).sqrt().clamp_min(1e-12)
    values = singular_values(matrix)
    power = values.square().clamp_min(1e-30)
    share = power / power.sum(1, keepdim=True)
    entropy = -(share * share.log()).sum(1)
    centered = matrix - matrix.mean((1, 2), keepdim=True)
    spread = centered.square().mean((1, 2)).clamp_min(1e-30)
    features = [
        (sigma * math.sqrt(columns)).log(),
        (values[:, 0] / (sigma * (math.sqrt(rows) + math.sqrt(columns)))).clamp_min(1e-9).log(),
        entropy - math.log(min(rows, columns)),
        (centered.pow(4).mean((1, 2)) / spread.square()).clamp_min(1e-9).log(),
        matrix.mean((1, 2)) / sigma,
        matrix.norm(dim=2).clamp_min(1e-9).log().std(1, correction=0),
        matrix.norm(dim=1).clamp_min(1e-9).log().std(1, correction=0),
        (matrix.abs() < 1e-6).double().mean((1, 2)),
        (bias.square().mean(1).sqrt() / (sigma * math.sqrt(columns))).clamp_min(1e-6).log(),
    ]
    return torch.stack(features, 1)


def tabulate_shape_free(population: Population) -> np.ndarray:
    """(members, 47) in the population's order; no column is ever missing."""
    return tabulate_features(population, extract_shape_free).values


def fit_over_recipes(
    x: np.ndarray, y: np.ndarray, recipes: np.ndarray, seed: int, folds: int = 4
) -> tuple[Forest, float]:
    """Trees on networks of many recipes, and the half-width of 90 % intervals for a network of a *new* recipe.

    `x` (members, columns), `y` (members,) without NaN, `recipes` (members,) the name of each one's recipe. Residuals
    come from trees that never saw the recipe: recipes are dealt into `folds` folds, each left out in turn.
    """
    kinds = sorted(set(recipes))
    fold = {kind: i % folds for i, kind in enumerate(np.random.default_rng(seed).permutation(kinds))}
    fold_of = np.array([fold[kind] for kind in recipes])
    residuals = np.zeros(len(y))
    for i in range(folds):
        forest = _grow_trees(x[fold_of != i], y[fold_of != i], seed)
        residuals[fold_of == i] = y[fold_of == i] - forest.raw(x[fold_of == i])[:, 0]
    by_recipe = [np.abs(residuals[recipes == kind]) for kind in kinds]
    return _grow_trees(x, y, seed), fit_recipe_margin(by_recipe)


def _grow_trees(x: np.ndarray, y: np.ndarray, seed: int) -> Forest:
    """Trees; a column that no network here has is set to zero, because scikit-learn cannot bin what is missing throughout."""
    return grow_regression(np.where(np.isnan(x).all(0), 0.0, x), y, seed, max_iter=100)


def fit_recipe_margin(residuals: Sequence[np.ndarray], level: float = 0.9) -> float:
    """Half-width that holds the truth for `level` of the networks of a new recipe, on average over recipes.

    `residuals` holds absolute residuals, one array per recipe that was left out. Each recipe weighs 1 / (recipes + 1),
    spread over its networks, and the new recipe keeps its own share as residuals of any size: below ten recipes no
    interval can promise 90 %, and the answer is infinite.
    """
    share = 1 / (len(residuals) + 1)
    sizes = np.concatenate(residuals)
    weights = np.concatenate([np.full(len(r), share / len(r)) for r in residuals])
    order = np.argsort(sizes)
    reached = np.cumsum(weights[order])
    at = int(np.searchsorted(reached, level - 1e-12))
    return float(sizes[order][at]) if at < len(sizes) else math.inf
