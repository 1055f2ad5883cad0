"""Reconstruction under the worst masks that a few steps of sign ascent find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field
from digsite.decompose.core import masks
from digsite.decompose.core.masks import Masks

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


ATTACKS = True


class Settings(Config):
    kind: Literal["adversarial"] = "adversarial"
    coeff: float = Field(default=1.0, ge=0, description="coefficient in the total loss")
    steps: int = Field(default=1, gt=0, description="ascent steps on the mask sources")
    step_size: float = Field(default=1.0, gt=0, description="change of each source per step")
    shared: bool = Field(
        default=True, description="one set of sources for the whole batch, or one per position"
    )
    routing: Literal["all", "subset"] = Field(
        default="all", description="replace all modules, or a random subset at each position"
    )


def noise(settings: Settings, layout: Layout) -> dict[str, tuple[int, ...]]:
    def sources(site: str) -> tuple[int, ...]:
        shape = layout.mask(site)
        return (*(1 for _ in shape[:-1]), shape[-1]) if settings.shared else shape

    wanted = {site: sources(site) for site in layout.n}
    return wanted | (
        {"routes": (*layout.shared(), len(layout.n) + 1)} if settings.routing == "subset" else {}
    )


def compute(settings: Settings, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
    from torch.func import grad

    routes = masks.subset_routes(noise["routes"], list(scene.inner)) if settings.routing == "subset" else None

    def loss(sources: dict[str, Tensor]) -> Tensor:
        drawn = masks.between(scene.importance.lower, sources)
        return scene.distance(scene.forward(Masks(drawn.parts, drawn.residual, routes)))

    sources = {site: noise[site] for site in scene.inner}
    for _ in range(settings.steps):
        slopes = grad(loss)(sources)
        sources = {
            s: (r + settings.step_size * slopes[s].sign()).clamp(0, 1).detach() for s, r in sources.items()
        }
    return loss(sources)
