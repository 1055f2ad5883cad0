"""One MLP per module that gives the logits of all of its components from the module's input vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field
from digsite.decompose.core import dense

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.gating import Draw, Shapes

NEEDS_INPUTS = True


class Settings(Config):
    kind: Literal["shared"] = "shared"
    hidden: list[int] = Field(default=[256], min_length=1, description="hidden sizes of each module's MLP")


def init(settings: Settings, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
    params = {}
    for site, shape in shapes.items():
        params |= dense.init([shape.d_in, *settings.hidden, shape.n], f"{site}/", draw)
    return params


def logits(
    settings: Settings, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    return {site: dense.forward(x, params, f"{site}/") for site, x in inputs.items()}
