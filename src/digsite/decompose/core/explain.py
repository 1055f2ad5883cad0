"""What one component is about: inputs that use it, outputs it moves, and its nearest neuron and singular direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from digsite.decompose.core.components import Decomposed
from digsite.decompose.core.masks import Masks


@dataclass(frozen=True)
class Explanation:
    module: str
    component: int
    share: float  # positions with importance above 0.1
    top: list[tuple[tuple[int, ...], float]]  # (position, importance), most important first
    top_inputs: list[Any]  # what was there: the token, or the input's largest entries
    moved: list[
        tuple[int, float]
    ]  # (output, mean change when the component is switched off at those positions)
    neuron: tuple[int, float]  # column of the matrix that it resembles most, and the cosine
    singular: tuple[int, float]  # singular direction that it resembles most, and the cosine


@torch.no_grad()
def explain(found: Decomposed, module: str, component: int, batch: Tensor, n_top: int = 10) -> Explanation:
    scene = found.scene(batch)
    g = scene.importance.lower[module][..., component]
    values, flat = g.flatten().topk(min(n_top, g.numel()))
    places = [tuple(int(i) for i in torch.unravel_index(index, g.shape)) for index in flat]
    parts = found.components(module)
    direction = parts.matrix(component)
    return Explanation(
        module,
        component,
        float((g > 0.1).float().mean()),
        [(place, float(v)) for place, v in zip(places, values, strict=True)],
        [_describe(batch, place) for place in places],
        _moved(found, scene, module, component, places, n_top),
        _nearest_neuron(direction, parts.weight),
        _nearest_singular(direction, parts.weight),
    )


def _describe(batch: Tensor, place: tuple[int, ...]) -> Any:
    """A token number, or the three largest entries of a row."""
    if not batch.is_floating_point():
        return int(batch[place[: batch.ndim]])
    row = batch[place[0]].flatten()
    index = row.abs().topk(min(3, len(row))).indices.tolist()
    return {i: round(float(row[i]), 4) for i in index}


def _moved(
    found: Decomposed, scene: Any, module: str, component: int, places: list[tuple[int, ...]], n: int
) -> list[tuple[int, float]]:
    """Output change where the component matters, all other components left as they are."""
    parts = {m: torch.ones_like(g) for m, g in scene.importance.lower.items()}
    full = scene.forward(Masks(parts))
    parts[module] = parts[module].clone()
    parts[module][..., component] = 0
    change = full - scene.forward(Masks(parts))
    depth = change.ndim - 1
    at = torch.stack([change[place[:depth]] for place in places]).mean(0).flatten()
    index = at.abs().topk(min(n, len(at))).indices.tolist()
    return [(i, float(at[i])) for i in index]


def _nearest_neuron(direction: Tensor, weight: Tensor) -> tuple[int, float]:
    """A neuron is an output column of the matrix; the cosine is with that column alone."""
    lengths = weight.norm(dim=0) * direction.norm()
    cosine = (direction * weight).sum(0) / lengths.clamp_min(1e-12)
    best = int(cosine.abs().argmax())
    return best, float(cosine[best])


def _nearest_singular(direction: Tensor, weight: Tensor) -> tuple[int, float]:
    left, _, right = torch.linalg.svd(weight, full_matrices=False)
    cosine = torch.einsum("ik,io,ko->k", left, direction, right) / direction.norm().clamp_min(1e-12)
    best = int(cosine.abs().argmax())
    return best, float(cosine[best])
