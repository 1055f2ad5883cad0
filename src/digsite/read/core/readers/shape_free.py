"""Weights of any shape: a fixed row of numbers whatever the family.

Every block of weights is described beside what a random matrix of its shape would show, so that a number means the same
in an MLP and in a transformer, and the blocks are pooled to first, last, mean and extremes, so that depth does not matter.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.read.core.graph import weigh_graph
from digsite.read.core.population import Columns, NetworkGroup
from digsite.read.core.readers.spectra import singular_values

INVARIANT = ("permutation",)
ANY_SHAPE = True
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
