"""An affine function of the component's inner activation: the cheapest gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.gating import Draw, Shapes

NEEDS_INPUTS = False


class Settings(Config):
    kind: Literal["linear"] = "linear"


def init(settings: Settings, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
    params = {}
    for site, shape in shapes.items():
        params[f"{site}/slope"] = draw(f"{site}/slope", shape.n)
        params[f"{site}/bias"] = draw(f"{site}/bias", shape.n) * 0
    return params


def logits(
    settings: Settings, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    return {site: acts * params[f"{site}/slope"] + params[f"{site}/bias"] for site, acts in inner.items()}
