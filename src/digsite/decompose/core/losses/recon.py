"""The masked model should still do what the target does; masks and routing make the reference's recon family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field
from digsite.decompose.core import masks
from digsite.decompose.core.masks import Masks

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


class Settings(Config):
    kind: Literal["recon"] = "recon"
    coeff: float = Field(default=1.0, ge=0, description="coefficient in the total loss")
    masks: Literal["stochastic", "ci", "none"] = Field(
        default="stochastic",
        description="random between importance and one; the importances themselves; all ones",
    )
    routing: Literal["all", "layerwise", "subset"] = Field(
        default="all",
        description="replace all modules; one module at a time; at each position a random subset",
    )
    distribution: Literal["uniform", "binomial"] = Field(
        default="uniform", description="how stochastic masks are drawn"
    )
    samples: int = Field(default=1, gt=0, description="draws per step")


def noise(settings: Settings, layout: Layout) -> dict[str, tuple[int, ...]]:
    wanted: dict[str, tuple[int, ...]] = {}
    for sample in range(settings.samples):
        if settings.masks == "stochastic":
            wanted |= {f"{sample}/{site}": layout.mask(site) for site in layout.n}
        if settings.routing == "subset":
            wanted[f"{sample}/routes"] = (*layout.shared(), len(layout.n) + 1)
    return wanted


def compute(settings: Settings, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
    samples = settings.samples if noise else 1
    terms = [
        scene.distance(scene.forward(plan))
        for s in range(samples)
        for plan in _plans(settings, scene, noise, s)
    ]
    return sum(terms[1:], terms[0]) / len(terms)


def _plans(settings: Settings, scene: Scene, noise: dict[str, Tensor], sample: int) -> list[Masks]:
    drawn = _masks(settings, scene, noise, sample)
    if settings.routing == "layerwise":
        return [drawn.restrict([site]) for site in drawn.parts]
    if settings.routing == "subset":
        routes = masks.subset_routes(noise[f"{sample}/routes"], list(drawn.parts))
        return [Masks(drawn.parts, drawn.residual, routes)]
    return [drawn]


def _masks(settings: Settings, scene: Scene, noise: dict[str, Tensor], sample: int) -> Masks:
    importance = scene.importance.lower
    if settings.masks == "ci":
        return Masks(importance)
    if settings.masks == "none":
        return Masks({site: g.detach() * 0 + 1 for site, g in importance.items()})
    uniform = {site: noise[f"{sample}/{site}"] for site in importance}
    return masks.between(importance, uniform, settings.distribution)
