"""Which components feed which: gradient times activation from each component to later modules' components."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.core.masks import Masks


@dataclass(frozen=True)
class Attributions:
    """strength[i, j]: mean absolute first-order effect of source i on the inner activation of destination j."""

    source: str
    destination: str
    sources: list[int]
    destinations: list[int]
    strength: Tensor


def attribute(
    found: Decomposition, source: str, destination: str, batch: Tensor, *, threshold: float = 0.1
) -> Attributions:
    """Effects along the model run on its important components; components that never act are left out."""
    scene = found.scene(batch)
    importance = scene.importance.lower
    used = {
        m: (importance[m].flatten(0, -2) > threshold).any(0).nonzero()[:, 0].tolist()
        for m in (source, destination)
    }
    masks = {m: g.clone().requires_grad_(m == source) for m, g in importance.items()}
    inner: dict[str, Tensor] = {}
    scene.forward(Masks(masks), inner=inner)
    if not inner[destination].requires_grad:
        raise UsageError(
            f"Nothing flows from '{source}' to '{destination}'.", hint="Give the earlier module first."
        )
    columns = [
        _effect(inner[destination][..., d], masks[source], importance[destination][..., d])
        for d in used[destination]
    ]
    strength = (
        torch.stack(columns, 1) if columns else importance[source].new_zeros(importance[source].shape[-1], 0)
    )
    return Attributions(source, destination, used[source], used[destination], strength[used[source]])


def _effect(inner: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Where the destination matters: d inner / d mask times mask, absolute, mean over positions."""
    (slope,) = torch.autograd.grad((inner * weight).sum(), mask, retain_graph=True)
    effect = (slope * mask).abs().flatten(0, -2)
    return effect.mean(0).detach()
