"""Are two sets of filters the same up to order? Cosine after the best matching, beside permuted filters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError


@dataclass(frozen=True)
class FilterMatch:
    """`matched` is the mean cosine after matching, `in_place` without; `null` is `matched` for scrambled filters."""

    matched: float
    in_place: float
    moved: float
    null: float
    p: float


@public_method(before=Numbers(rows=2), after=Numbers(rows=2))
def filter_similarity(
    before: Float[Tensor, "out ..."],
    after: Float[Tensor, "out ..."],
    generator: torch.Generator,
    *,
    draws: int = 20,
) -> FilterMatch:
    """The null scrambles the weights within each filter: matching finds something even in noise."""
    if before.shape != after.shape:
        raise UsageError(
            f"Filters of shapes {tuple(before.shape)} and {tuple(after.shape)} cannot be matched."
        )
    a, b = _unit(before), _unit(after)
    value, order = _matched(a, b)
    null = [_matched(_scrambled(a, generator), b)[0] for _ in range(draws)]
    p = (1 + sum(other >= value for other in null)) / (draws + 1)
    in_place = float((a * b).sum(-1).mean())
    moved = float((order != torch.arange(len(a))).float().mean())
    return FilterMatch(value, in_place, moved, float(sum(null) / draws), p)


def _unit(filters: Tensor) -> Tensor:
    flat = filters.detach().flatten(1).double()
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _matched(a: Tensor, b: Tensor) -> tuple[float, Tensor]:
    cosine = a @ b.T
    rows, columns = linear_sum_assignment(-cosine.numpy())
    return float(cosine[rows, columns].mean()), torch.as_tensor(columns)


def _scrambled(filters: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.rand(filters.shape, generator=generator).argsort(dim=1)
    return filters.gather(1, order)
