"""Importance-weighted squared norms of the parts: a soft count of rank that also pays for size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


class Settings(Config):
    kind: Literal["schatten"] = "schatten"
    coeff: float = Field(default=1e-3, ge=0, description="coefficient in the total loss")
    p: float = Field(default=1.0, gt=0, description="exponent of the importances")


def noise(settings: Settings, layout: Layout) -> dict[str, tuple[int, ...]]:
    return {}


def compute(settings: Settings, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
    terms = []
    for site, upper in scene.importance.upper.items():
        v, u = scene.factors[site]
        sizes = v.square().sum(0) + u.square().sum(1)
        terms.append(scene.mean(((upper + 1e-12) ** settings.p * sizes).sum(-1)))
    return sum(terms[1:], terms[0])
