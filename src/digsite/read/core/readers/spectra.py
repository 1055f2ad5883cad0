"""Singular values of every weight matrix, and what they add up to."""

import numpy as np
import torch
from torch import Tensor

from digsite.read.core.population import Group
from digsite.read.core.table import Columns, by_layer

INVARIANT = ("permutation",)
_RANKS = 32
_SUMMARY = ("log_norm", "log_top", "stable_rank", "effective_rank", "log_ratio")


def extract(group: Group) -> Columns:
    matrices = [matrix(group.tensors[b.tensors[0]]) for b in group.graph.blocks]
    names = [*_SUMMARY, *(f"s{i}" for i in range(_RANKS))]
    return by_layer(names, [_columns(singular_values(m)) for m in matrices])


def matrix(weight: Tensor) -> Tensor:
    """(members, out, everything else)."""
    return weight.flatten(2) if weight.ndim > 2 else weight[:, None, :]


def singular_values(weight: Tensor) -> Tensor:
    """Through the smaller Gram matrix in float64: four times faster than the SVD, exact to 1e-8 of the largest."""
    weight = weight.double()
    tall = weight.shape[1] > weight.shape[2]
    gram = weight.transpose(1, 2) @ weight if tall else weight @ weight.transpose(1, 2)
    return torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().flip(1)


def _columns(s: Tensor) -> np.ndarray:
    power = s.square().clamp_min(1e-30)
    share = power / power.sum(1, keepdim=True)
    summary = torch.stack(
        [
            power.sum(1).log() / 2,
            power[:, 0].log() / 2,
            power.sum(1) / power[:, 0],
            torch.exp(-(share * share.clamp_min(1e-12).log()).sum(1)),
            (power[:, 0] / power[:, -1].clamp_min(1e-20)).log(),
        ],
        1,
    )
    ranks = torch.full((len(s), _RANKS), torch.nan, dtype=s.dtype)
    ranks[:, : s.shape[1]] = s[:, :_RANKS]
    return torch.cat([summary, ranks], 1).numpy()
