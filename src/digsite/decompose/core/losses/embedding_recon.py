"""A decomposed embedding should give back each token's vector under stochastic masks; one module only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.base.errors import UsageError
from digsite.config import Config, Field
from digsite.decompose.core import masks

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


ONE_MODULE = True


class Settings(Config):
    kind: Literal["embedding_recon"] = "embedding_recon"
    coeff: float = Field(default=1.0, ge=0, description="coefficient in the total loss")


def noise(settings: Settings, layout: Layout) -> dict[str, tuple[int, ...]]:
    if len(layout.n) != 1:
        raise UsageError(
            f"The loss 'embedding_recon' needs exactly one decomposed module, and there are {len(layout.n)}."
        )
    return {site: layout.mask(site) for site in layout.n}


def compute(settings: Settings, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
    (site,) = scene.inner
    drawn = masks.between(scene.importance.lower, noise)
    built = (scene.inner[site] * drawn.parts[site]) @ scene.factors[site][1]
    if drawn.residual is not None:
        built = (
            built
            + scene.plan.target.sites[site].read(scene.inputs[site], scene.residuals[site])
            * drawn.residual[site]
        )
    wanted = scene.plan.target.sites[site].read(scene.inputs[site], scene.matrices[site])
    return scene.mean((built - wanted).square().sum(-1))
