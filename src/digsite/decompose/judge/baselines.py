"""Trivial decompositions beside the found one, with as many parts in all, or as many at every position and module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from digsite.decompose.core.decomposition import Components, Decomposition
from digsite.decompose.core.masks import Masks
from digsite.decompose.core.scene import Scene


def split_singular(parts: Components) -> Components:
    """Singular directions, each with its singular value: the parts that add up to W with the least rank."""
    left, sizes, right = torch.linalg.svd(parts.weight, full_matrices=False)
    return Components(left * sizes, right, parts.weight)


def rotate_parts(parts: Components, generator: torch.Generator) -> Components:
    """The same product V U from factors mixed by a random rotation: equally faithful, without the sparsity."""
    n = parts.V.shape[1]
    mixed = torch.randn(n, n, generator=generator, dtype=parts.V.dtype)
    rotation = torch.linalg.qr(mixed)[0].to(parts.V.device)
    return Components(parts.V @ rotation, rotation.T @ parts.U, parts.weight)


def split_randomly(parts: Components, generator: torch.Generator) -> Components:
    """The weight split along a random orthogonal basis of what it reads or of what it writes, whichever is smaller."""
    n_in, n_out = parts.weight.shape
    basis = torch.linalg.qr(torch.randn(*[min(n_in, n_out)] * 2, generator=generator))[0].to(parts.weight)
    if n_in <= n_out:
        return Components(basis, basis.T @ parts.weight, parts.weight)
    return Components(parts.weight @ basis, basis.T, parts.weight)


# Rivals of a decomposition that may keep as many components, at every position and module, as it keeps itself.

RIVALS = {
    "svd": "the singular parts of the weights that are largest at the position",
    "random_directions": "parts along random orthogonal directions, the largest at the position",
    "rotated": "the found components mixed by a random rotation, the largest at the position",
    "largest": "the found components, the largest at the position whatever the gates say",
    "random_masks": "as many of the living components, chosen at random",
}


@torch.no_grad()
def make_rivals(
    decomposition: Decomposition,
    scene: Scene,
    kept: Masks,
    alive: dict[str, Tensor],
    generator: torch.Generator,
) -> dict[str, tuple[Scene, Masks]]:
    """For each rival a scene with its parts and its masks; `kept` are the 0/1 masks of the decomposition."""
    makers: dict[str, Callable[[Components], Components]] = {
        "svd": split_singular,
        "random_directions": lambda parts: split_randomly(parts, generator),
        "rotated": lambda parts: rotate_parts(parts, generator),
        "largest": lambda parts: parts,
    }
    made = {name: keep_largest(decomposition, scene, kept, make) for name, make in makers.items()}
    return made | {"random_masks": (scene, keep_random(kept, alive, generator))}


def keep_largest(
    decomposition: Decomposition, scene: Scene, kept: Masks, make: Callable[[Components], Components]
) -> tuple[Scene, Masks]:
    """As many parts of another decomposition at every position, chosen by size: is our choice better than the
    obvious one?
    """
    factors, parts = {}, {}
    for module, mask in kept.parts.items():
        other = make(decomposition.components(module))
        acts = decomposition.plan.target.sites[module].read_inner(scene.inputs[module], other.V)
        factors[module] = (other.V, other.U)
        parts[module] = mark_largest(acts.abs() * other.U.norm(dim=1), mask.sum(-1))
    return replace(scene, factors=factors), Masks(parts)


def keep_random(kept: Masks, alive: dict[str, Tensor], generator: torch.Generator) -> Masks:
    """As many of our own living parts at every position, chosen by lot: is it our importance that matters?"""
    parts = {}
    for module, mask in kept.parts.items():
        scores = torch.rand(mask.shape, generator=generator).to(mask.device) * alive[module]
        parts[module] = mark_largest(scores, mask.sum(-1))
    return Masks(parts)


def mark_largest(sizes: Tensor, n: Tensor) -> Tensor:
    """1 at the n largest entries of each row, with as many rows as numbers n."""
    rank = sizes.argsort(-1, descending=True).argsort(-1)
    return (rank < n[..., None]).to(sizes.dtype)
