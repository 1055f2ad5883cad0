"""One MLP over all modules: it reads the inputs of every module and gives every component's logit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field
from digsite.decompose.core import dense

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.gating import Draw, Shapes

NEEDS_INPUTS = True


class Settings(Config):
    kind: Literal["global_mlp"] = "global_mlp"
    hidden: list[int] = Field(default=[256], min_length=1, description="hidden sizes of the one MLP")


def init(settings: Settings, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
    width = sum(shape.d_in for shape in shapes.values())
    return dense.init([width, *settings.hidden, sum(shape.n for shape in shapes.values())], "", draw)


def logits(
    settings: Settings, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    import torch

    joined = torch.cat([dense.normalized(x) for x in inputs.values()], -1)
    sizes = [acts.shape[-1] for acts in inner.values()]
    return dict(zip(inner, dense.forward(joined, params, "").split(sizes, -1), strict=True))
