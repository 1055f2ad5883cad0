"""Few components should matter: the p-norm of upper importances, summed over components and modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.masks import Layout
    from digsite.decompose.core.scene import Scene


class Settings(Config):
    kind: Literal["importance_minimality"] = "importance_minimality"
    coeff: float = Field(default=1e-3, ge=0, description="coefficient in the total loss")
    p: float = Field(default=1.0, gt=0, description="exponent of the importances")
    eps: float = Field(default=1e-12, ge=0, description="added to importances before the power")
    p_final: float | None = Field(
        default=None, gt=0, description="exponent that p moves to linearly; none keeps p"
    )
    anneal: tuple[float, float] = Field(
        default=(0.0, 1.0), description="shares of training between which p moves"
    )
    beta: float = Field(
        default=0.0,
        ge=0,
        description="weight of the frequency term, which discourages components that always fire",
    )


def noise(settings: Settings, layout: Layout) -> dict[str, tuple[int, ...]]:
    return {}


def compute(settings: Settings, scene: Scene, noise: dict[str, Tensor]) -> Tensor:
    terms = [_site(settings, scene, upper) for upper in scene.importance.upper.values()]
    return sum(terms[1:], terms[0])


def _site(settings: Settings, scene: Scene, upper: Tensor) -> Tensor:
    powered = (
        upper
        if settings.p == 1 and settings.p_final is None
        else (upper + settings.eps) ** exponent(settings, scene.progress)
    )
    if not settings.beta:
        return scene.mean(powered.sum(-1))
    per_component = mean_by_component(scene, powered)
    count = powered[..., 0].numel() if scene.rows is None else scene.rows.sum()
    return (per_component * (1 + settings.beta * (1 + per_component * count).log2())).sum()


def exponent(settings: Settings, progress: Tensor | float) -> Tensor | float:
    if settings.p_final is None:
        return settings.p
    import torch

    start, end = settings.anneal
    share = torch.as_tensor((progress - start) / max(end - start, 1e-12)).clamp(0, 1)
    return settings.p + (settings.p_final - settings.p) * share


def mean_by_component(scene: Scene, values: Tensor) -> Tensor:
    if scene.rows is None:
        return values.flatten(0, -2).mean(0)
    by_row = values.flatten(1, -2).mean(1) if values.ndim > 2 else values
    return (by_row * scene.rows[:, None]).sum(0) / scene.rows.sum()
