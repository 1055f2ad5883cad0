"""One masked pass with three kinds of masks mixed over the rows of a batch: random, none but what is needed, worst.

Of each row it is drawn whether all sites are replaced or a random subset at each position; and whether the components
that are not important are there in random measure, not at all, or as an adversary wants them. The adversary is
persistent: its sources (a pool of them, row i of a batch using number i modulo the pool) are kept from step to step and
climb the same gradient that the components descend, so they cost no further pass.
"""

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
    kind: Literal["merged_recon"] = "merged_recon"
    coeff: float = Field(default=1.0, ge=0, description="coefficient in the total loss")
    subset: float = Field(default=0.5, ge=0, le=1, description="share of rows with a random subset of sites")
    bare: float = Field(
        default=0.25, ge=0, le=1, description="share of rows without any unimportant component"
    )
    adversarial: float = Field(default=0.25, ge=0, le=1, description="share of rows with adversarial sources")
    pool: int = Field(
        default=1,
        gt=0,
        description="adversarial sources: 1 is shared by the batch, as many as rows is one a row",
    )
    source_lr: float = Field(
        default=0.01, gt=0, description="learning rate of the adversary (Adam, .5 and .99)"
    )


def sources(settings: Settings, counts: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Shapes of the persistent sources by site; `counts` has the components of each, and the residual where it counts."""
    return {site: (settings.pool, n) for site, n in counts.items()} if settings.adversarial else {}


def noise(settings: Settings, layout: Layout) -> dict[str, tuple[int, ...]]:
    rows = layout.shared()[:1]
    wanted: dict[str, tuple[int, ...]] = {site: layout.mask(site) for site in layout.n}
    return wanted | {"routes": (*layout.shared(), len(layout.n) + 1), "kind": rows, "whole": rows}


def compute(settings: Settings, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
    importance, uniform = scene.importance.lower, {}
    bare = (noise["kind"] < settings.bare).to(noise["kind"].dtype)
    worst = (noise["kind"] > 1 - settings.adversarial).to(noise["kind"].dtype)
    for site, g in importance.items():
        rows = noise[site] * _rows(1 - bare, g)
        if settings.adversarial:
            rows = rows * _rows(1 - worst, g) + _spread(noise[f"source/{site}"], g) * _rows(worst, g)
        uniform[site] = rows
    drawn = masks.between(importance, uniform)
    routes = masks.subset_routes(noise["routes"], list(importance))
    whole = (noise["whole"] >= settings.subset).to(noise["whole"].dtype)
    mixed = {site: _rows(whole, route) + (1 - _rows(whole, route)) * route for site, route in routes.items()}
    return scene.distance(scene.forward(Masks(drawn.parts, drawn.residual, mixed)))


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """One number per row, on the axes of `like`."""
    return values.reshape(-1, *([1] * (like.ndim - 1)))


def _spread(pool: Tensor, like: Tensor) -> Tensor:
    """(pool, n) to (rows, 1.., n): row i gets number i modulo the pool."""
    import torch

    index = torch.arange(like.shape[0], device=pool.device) % pool.shape[0]
    return pool[index].reshape(like.shape[0], *([1] * (like.ndim - 2)), pool.shape[1])
