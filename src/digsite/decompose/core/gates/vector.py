"""One MLP per component that sees the module's whole input vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.gating import Draw, Shapes

NEEDS_INPUTS = True


class Settings(Config):
    kind: Literal["vector"] = "vector"
    hidden: int = Field(default=16, gt=0, description="hidden size of each component's MLP")


def init(settings: Settings, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
    params = {}
    for site, shape in shapes.items():
        params[f"{site}/w0"] = (
            draw(f"{site}/w0", shape.d_in, shape.n * settings.hidden) * (2 / shape.d_in) ** 0.5
        )
        params[f"{site}/b0"] = draw(f"{site}/b0", shape.n, settings.hidden) * 0
        params[f"{site}/out"] = draw(f"{site}/out", shape.n, settings.hidden) / settings.hidden**0.5
        params[f"{site}/bias"] = draw(f"{site}/bias", shape.n) * 0
    return params


def logits(
    settings: Settings, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    from torch.nn import functional as F

    found = {}
    for site, x in inputs.items():
        bias = params[f"{site}/b0"]
        hidden = F.gelu((x @ params[f"{site}/w0"]).unflatten(-1, bias.shape) + bias)
        found[site] = (hidden * params[f"{site}/out"]).sum(-1) + params[f"{site}/bias"]
    return found
