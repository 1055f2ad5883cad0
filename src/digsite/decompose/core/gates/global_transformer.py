"""A small transformer over positions: it reads every module's input along the sequence and gives every logit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field
from digsite.decompose.core import dense

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.gating import Draw, Shapes

NEEDS_INPUTS = True


class Settings(Config):
    kind: Literal["global_transformer"] = "global_transformer"
    width: int = Field(default=128, gt=0, description="width of the residual stream")
    heads: int = Field(default=4, gt=0, description="attention heads; must divide the width")
    blocks: int = Field(default=2, gt=0, description="number of blocks")


def init(settings: Settings, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
    width = settings.width
    params = dense.init([sum(shape.d_in for shape in shapes.values()), width], "in/", draw)
    for i in range(settings.blocks):
        params |= dense.init([width, 3 * width], f"{i}/qkv/", draw) | dense.init(
            [width, width], f"{i}/mix/", draw
        )
        params |= dense.init([width, 4 * width, width], f"{i}/mlp/", draw)
    return params | dense.init([width, sum(shape.n for shape in shapes.values())], "out/", draw)


def logits(
    settings: Settings, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    import torch

    x = dense.forward(torch.cat([dense.normalized(x) for x in inputs.values()], -1), params, "in/")
    for i in range(settings.blocks):
        x = x + dense.forward(
            _attend(dense.forward(dense.normalized(x), params, f"{i}/qkv/"), settings.heads),
            params,
            f"{i}/mix/",
        )
        x = x + dense.forward(dense.normalized(x), params, f"{i}/mlp/")
    sizes = [acts.shape[-1] for acts in inner.values()]
    return dict(zip(inner, dense.forward(dense.normalized(x), params, "out/").split(sizes, -1), strict=True))


def _attend(qkv: Tensor, heads: int) -> Tensor:
    """Bidirectional attention along the last-but-one axis; a batch without a sequence axis attends to itself only."""
    from torch.nn import functional as F

    if qkv.ndim < 3:
        return qkv.chunk(3, -1)[2]
    q, k, v = (part.unflatten(-1, (heads, -1)).movedim(-2, -3) for part in qkv.chunk(3, -1))
    return F.scaled_dot_product_attention(q, k, v).movedim(-3, -2).flatten(-2)
