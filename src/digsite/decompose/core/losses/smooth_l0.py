"""Few components should matter: importances c counted as c^2 / (c^2 + w^2), which is nearly their number for small w.

A sum of importances goes on pulling at a component that is needed; this count does not, once w is small. The width w
falls from `width` to `width_final` in the course of training. Pressure may rise in the first share of training and end
before the last, so that what is needed settles at one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


class Settings(Config):
    kind: Literal["smooth_l0"] = "smooth_l0"
    coeff: float = Field(default=1e-3, ge=0, description="coefficient in the total loss")
    width: float = Field(default=1.0, gt=0, description="width w at the start")
    width_final: float = Field(default=0.01, gt=0, description="width w at the end")
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
    terms = [scene.mean(count_softly(upper, width).sum(-1)) for upper in scene.importance.upper.values()]
    return sum(terms[1:], terms[0]) * pressure(settings.rise, settings.end, scene.progress)


def current_width(start: float, end: float, progress: Tensor | float) -> Tensor | float:
    return start + (end - start) * progress


def count_softly(importance: Tensor, width: Tensor | float) -> Tensor:
    """Of the same shape; exactly 0 at 0 and, whatever the width, exactly 1 at 1."""
    squared = importance.square()
    return squared * (1 + width**2) / (squared + width**2)


def pressure(rise: float, end: float, progress: Tensor | float) -> Tensor:
    """From 0 to 1 within `rise`, down to 0 over the last third before `end`, and 0 from there on."""
    import torch

    share = torch.as_tensor(progress)
    up = (share / rise).clamp(0, 1) if rise else torch.ones_like(share)
    return up * ((end - share) / (end / 3)).clamp(0, 1) if end < 1 else up
