"""One small MLP per component, started so that a component is important exactly where it is active.

A component whose inner activation is zero adds nothing, so its importance can be zero for free. The gate begins with
that: logit = peak a^2 / (a^2 + width^2) + MLP(a), the MLP being silent at first, and a the activation in units of its
root mean square on the first batches. Training then only has to take away what is active and not needed; a gate that
begins at random has to find both at once, and in networks with steep steps (compiled ones, say) it does not recover.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.gating import Draw, Shapes

NEEDS_INPUTS = False


class Settings(Config):
    kind: Literal["active"] = "active"
    hidden: int = Field(default=8, gt=0, description="hidden size of each component's MLP")
    width: float = Field(
        default=0.005,
        gt=0,
        description="activation, in units of its root mean square, that counts as half active; steep steps need it small",
    )
    peak: float = Field(default=1.1, gt=0, description="logit of a clearly active component at the start")


def init(settings: Settings, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
    params = {}
    for site, shape in shapes.items():
        params[f"{site}/w0"] = draw(f"{site}/w0", shape.n, settings.hidden) * 2**0.5
        params[f"{site}/b0"] = draw(f"{site}/b0", shape.n, settings.hidden) * 0.5
        params[f"{site}/out"] = draw(f"{site}/out", shape.n, settings.hidden) * 0
        params[f"{site}/bias"] = draw(f"{site}/bias", shape.n) * 0
        params[f"{site}/peak"] = draw(f"{site}/peak", shape.n) * 0 + settings.peak
        params[f"{site}/unit"] = draw(f"{site}/unit", shape.n) * 0 + 1
    return params


def calibrate(settings: Settings, params: dict[str, Tensor], sizes: dict[str, Tensor]) -> None:
    """Take the unit of each component's activation from data, in place; one that does nothing starts unimportant.

    `sizes` is the root mean square of each component's contribution: its activation and that times the norm of what it
    writes, (2, C) by site.
    """
    for site, (activation, contribution) in sizes.items():
        params[f"{site}/unit"].copy_(1 / activation.clamp_min(1e-6))
        params[f"{site}/peak"].masked_fill_(contribution <= 1e-6 * contribution.max().clamp_min(1e-6), 0.0)


def logits(
    settings: Settings, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    from torch.nn import functional as F

    found = {}
    for site, acts in inner.items():
        scaled = acts * params[f"{site}/unit"].detach()
        hidden = F.gelu(scaled[..., None] * params[f"{site}/w0"] + params[f"{site}/b0"])
        squared = scaled.square()
        active = squared / (squared + settings.width**2)
        found[site] = (
            (hidden * params[f"{site}/out"]).sum(-1)
            + params[f"{site}/bias"]
            + params[f"{site}/peak"] * active
        )
    return found
