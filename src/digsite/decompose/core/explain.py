"""What components are about: inputs that use one, outputs it moves, its nearest neuron, and which components it feeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.decompose.core.components import Decomposed
from digsite.decompose.core.masks import USED, Masks, find_alive, find_used


@dataclass(frozen=True)
class Explanation:
    """What one component is about, in numbers and places."""

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
def explain_component(
    found: Decomposed, module: str, component: int, batch: Tensor, n_top: int = 10
) -> Explanation:
    """The `n_top` places of `batch` where its importance is highest, and what its matrix resembles."""
    scene = found.scene(batch)
    g = scene.importance.lower[module][..., component]
    values, flat = g.flatten().topk(min(n_top, g.numel()))
    places = [tuple(int(i) for i in torch.unravel_index(index, g.shape)) for index in flat]
    parts = found.components(module)
    direction = parts.matrix(component)
    return Explanation(
        module,
        component,
        float(find_used(g).float().mean()),
        [(place, float(v)) for place, v in zip(places, values, strict=True)],
        [describe_input(batch, place) for place in places],
        find_moved_outputs(found, scene, module, component, places, n_top),
        find_nearest_neuron(direction, parts.weight),
        find_nearest_singular(direction, parts.weight),
    )


def describe_input(batch: Tensor, place: tuple[int, ...]) -> Any:
    """A token number, or the three largest entries of a row."""
    if not batch.is_floating_point():
        return int(batch[place[: batch.ndim]])
    row = batch[place[0]].flatten()
    index = row.abs().topk(min(3, len(row))).indices.tolist()
    return {i: round(float(row[i]), 4) for i in index}


def find_moved_outputs(
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


def find_nearest_neuron(direction: Tensor, weight: Tensor) -> tuple[int, float]:
    """A neuron is an output column of the matrix; the cosine is with that column alone."""
    lengths = weight.norm(dim=0) * direction.norm()
    cosine = (direction * weight).sum(0) / lengths.clamp_min(1e-12)
    best = int(cosine.abs().argmax())
    return best, float(cosine[best])


def find_nearest_singular(direction: Tensor, weight: Tensor) -> tuple[int, float]:
    """(number, cosine) of the singular direction of `weight` that a part resembles most."""
    left, _, right = torch.linalg.svd(weight, full_matrices=False)
    cosine = torch.einsum("ik,io,ko->k", left, direction, right) / direction.norm().clamp_min(1e-12)
    best = int(cosine.abs().argmax())
    return best, float(cosine[best])


# --- which components feed which: gradient times activation, to later modules' components --------------------


@dataclass(frozen=True)
class Attributions:
    """strength[i, j]: mean absolute first-order effect of source i on the inner activation of destination j."""

    source: str
    destination: str
    sources: list[int]
    destinations: list[int]
    strength: Tensor


def attribute_components(
    found: Decomposed, source: str, destination: str, batch: Tensor, *, threshold: float = USED
) -> Attributions:
    """Effects along the model run on its important components; components that never act are left out."""
    scene = found.scene(batch)
    importance = scene.importance.lower
    used = {m: find_alive(importance[m], threshold).nonzero()[:, 0].tolist() for m in (source, destination)}
    masks = {m: g.clone().requires_grad_(m == source) for m, g in importance.items()}
    inner: dict[str, Tensor] = {}
    scene.forward(Masks(masks), inner=inner)
    if not inner[destination].requires_grad:
        raise UsageError(
            f"Nothing flows from '{source}' to '{destination}'.", hint="Give the earlier module first."
        )
    columns = [
        measure_effect(inner[destination][..., d], masks[source], importance[destination][..., d])
        for d in used[destination]
    ]
    strength = (
        torch.stack(columns, 1) if columns else importance[source].new_zeros(importance[source].shape[-1], 0)
    )
    return Attributions(source, destination, used[source], used[destination], strength[used[source]])


def measure_effect(inner: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Where the destination matters: d inner / d mask times mask, absolute, mean over positions."""
    (slope,) = torch.autograd.grad((inner * weight).sum(), mask, retain_graph=True)
    effect = (slope * mask).abs().flatten(0, -2)
    return effect.mean(0).detach()
