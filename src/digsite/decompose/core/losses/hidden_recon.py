"""Under stochastic masks every replaced module should still put out what it put out in the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from digsite.config import Config, Field
from digsite.decompose.core import masks

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


class Settings(Config):
    kind: Literal["hidden_recon"] = "hidden_recon"
    coeff: float = Field(default=1.0, ge=0, description="coefficient in the total loss")
    masks: Literal["stochastic", "ci"] = Field(
        default="stochastic", description="random masks, or the importances themselves"
    )


def noise(settings: Settings, layout: Layout) -> dict[str, tuple[int, ...]]:
    return {site: layout.mask(site) for site in layout.n} if settings.masks == "stochastic" else {}


def compute(settings: Settings, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
    importance = scene.importance.lower
    drawn = masks.between(importance, noise) if noise else masks.Masks(importance)
    caught: dict[str, Any] = {}
    scene.forward(drawn, caught)
    terms = [scene.mean((caught[site] - wanted).square().mean(-1)) for site, wanted in scene.outputs.items()]
    return sum(terms[1:], terms[0]) / len(terms)
