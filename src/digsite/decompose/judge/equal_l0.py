"""Rivals of a decomposition that may keep as many components, at every position and module, as it keeps itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from digsite.decompose.core.decomposition import Components, Decomposition
from digsite.decompose.core.masks import Masks
from digsite.decompose.core.scene import Scene
from digsite.decompose.judge import baselines

RIVALS = {
    "svd": "the singular parts of the weights that are largest at the position",
    "random_directions": "parts along random orthogonal directions, the largest at the position",
    "rotated": "the found components mixed by a random rotation, the largest at the position",
    "largest": "the found components, the largest at the position whatever the gates say",
    "random_masks": "as many of the living components, chosen at random",
}


@torch.no_grad()
def rivals(
    found: Decomposition, scene: Scene, kept: Masks, alive: dict[str, Tensor], generator: torch.Generator
) -> dict[str, tuple[Scene, Masks]]:
    """For each rival a scene with its parts and its masks; `kept` are the 0/1 masks of the decomposition."""
    makers: dict[str, Callable[[Components], Components]] = {
        "svd": baselines.svd,
        "random_directions": lambda parts: baselines.random_directions(parts, generator),
        "rotated": lambda parts: baselines.rotated(parts, generator),
        "largest": lambda parts: parts,
    }
    made = {name: _largest(found, scene, kept, make) for name, make in makers.items()}
    return made | {"random_masks": (scene, _random(kept, alive, generator))}


def _largest(
    found: Decomposition, scene: Scene, kept: Masks, make: Callable[[Components], Components]
) -> tuple[Scene, Masks]:
    factors, parts = {}, {}
    for module, mask in kept.parts.items():
        other = make(found.components(module))
        acts = found.plan.target.sites[module].read(scene.inputs[module], other.V)
        factors[module] = (other.V, other.U)
        parts[module] = top(acts.abs() * other.U.norm(dim=1), mask.sum(-1))
    return replace(scene, factors=factors), Masks(parts)


def _random(kept: Masks, alive: dict[str, Tensor], generator: torch.Generator) -> Masks:
    parts = {}
    for module, mask in kept.parts.items():
        scores = torch.rand(mask.shape, generator=generator).to(mask.device) * alive[module]
        parts[module] = top(scores, mask.sum(-1))
    return Masks(parts)


def top(sizes: Tensor, n: Tensor) -> Tensor:
    """1 at the n largest entries of each row, with as many rows as numbers n."""
    rank = sizes.argsort(-1, descending=True).argsort(-1)
    return (rank < n[..., None]).to(sizes.dtype)
