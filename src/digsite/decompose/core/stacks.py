"""K targets of one architecture: their weights as stacked tensors, and what their layers read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from digsite.decompose.core.target import Site, Target

Stacked = dict[str, Tensor]


def stack_weights(target: Target, models: Sequence[nn.Module]) -> Stacked | None:
    """Several targets differ by their weights; a single one keeps them in the module."""
    if len(models) == 1:
        return None
    own = target.weights()
    states = [dict(m.named_parameters()) | dict(m.named_buffers()) for m in models]
    return {key: torch.stack([state[key].detach().to(own[key]) for state in states]) for key in own}


def member(weights: Stacked | None, k: int) -> Stacked | None:
    return {key: value[k] for key, value in weights.items()} if weights else None


def stack_matrices(target: Target, weights: Stacked | None, n: int, x: Any) -> Stacked:
    """(n, d_in, d_out) of every site."""
    if weights is None:
        return {name: matrix.expand(n, *matrix.shape) for name, matrix in target.matrices().items()}
    each = [_matrices(target, member(weights, k), x) for k in range(n)]
    return {name: torch.stack([found[name] for found in each]) for name in target.sites}


@torch.no_grad()
def _matrices(target: Target, weights: Stacked | None, x: Any) -> Stacked:
    found: Stacked = {}

    def record(site: Site, x: Any) -> Any:
        found[site.name] = site.matrix().clone()
        return site.original(x)

    target(weights, x, dict.fromkeys(target.sites, record))
    return found


@torch.no_grad()
def is_silent_at_zero(target: Target, weights: Stacked | None, n: int, x: Tensor) -> bool:
    """All sites read zeros when the input is zero, so no mask can change the output there."""
    seen: list[bool] = []

    def record(site: Site, x: Tensor) -> Tensor:
        seen.append(not bool(x.any()))
        return site.original(x)

    for k in range(n if weights else 1):
        target(member(weights, k), torch.zeros_like(x[:1]), dict.fromkeys(target.sites, record))
    return all(seen)
