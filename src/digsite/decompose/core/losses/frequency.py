"""Few components should ever be used: how often each fires, times the logarithm of how often that is among N positions.

The number N is fixed, so that the term says the same for every size of a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field
from digsite.decompose.core.losses.importance_minimality import mean_by_component
from digsite.decompose.core.losses.smooth_l0 import count_softly, current_width, pressure

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


class Settings(Config):
    kind: Literal["frequency"] = "frequency"
    coeff: float = Field(default=1e-4, ge=0, description="coefficient in the total loss")
    positions: int = Field(default=32_768, gt=0, description="positions N among which uses are counted")
    width: float = Field(default=1.0, gt=0, description="width of the soft count at the start")
    width_final: float = Field(default=0.01, gt=0, description="width of the soft count at the end")
    rise: float = Field(
        default=0.0, ge=0, le=1, description="share of training in which pressure rises from zero"
    )
    end: float = Field(
        default=1.0, gt=0, le=1, description="share of training after which there is no pressure"
    )


def noise(settings: Settings, layout: Layout) -> dict[str, tuple[int, ...]]:
    return {}


def compute(settings: Settings, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
    width = current_width(settings.width, settings.width_final, scene.progress)
    terms = []
    for upper in scene.importance.upper.values():
        used = mean_by_component(scene, count_softly(upper, width))
        terms.append((used * (1 + used * settings.positions).log2()).sum())
    return sum(terms[1:], terms[0]) * pressure(settings.rise, settings.end, scene.progress)
