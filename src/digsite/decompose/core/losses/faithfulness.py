"""Parts must add up to the weights: mean squared entry of W - VU over all decomposed weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


class Settings(Config):
    kind: Literal["faithfulness"] = "faithfulness"
    coeff: float = Field(default=1.0, ge=0, description="coefficient in the total loss")


def noise(settings: Settings, layout: Layout) -> dict[str, tuple[int, ...]]:
    return {}


def compute(settings: Settings, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
    return residual_mean(scene.residuals)


def residual_mean(residuals: dict[str, Tensor]) -> Tensor:
    import torch

    total = torch.stack([delta.square().sum() for delta in residuals.values()]).sum()
    return total / sum(delta.numel() for delta in residuals.values())
