"""One small MLP per component, from the component's inner activation to its logit."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from digsite.config import Config, Field

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.gating import Draw, Shapes

NEEDS_INPUTS = False


class Settings(Config):
    kind: Literal["mlp"] = "mlp"
    hidden: list[int] = Field(default=[16], min_length=1, description="hidden sizes of each component's MLP")
    nodes: int = Field(
        default=0, ge=0, description="tabulate each function on this many nodes and interpolate; 0 = exact"
    )


def init(settings: Settings, shapes: Shapes, draw: Draw) -> dict[str, Tensor]:
    params = {}
    for site, shape in shapes.items():
        sizes = [1, *settings.hidden]
        for i, (fan_in, size) in enumerate(pairwise(sizes)):
            params[f"{site}/w{i}"] = draw(f"{site}/w{i}", shape.n, fan_in, size) * (2 / fan_in) ** 0.5
            params[f"{site}/b{i}"] = draw(f"{site}/b{i}", shape.n, size) * 0
        params[f"{site}/out"] = draw(f"{site}/out", shape.n, sizes[-1]) / sizes[-1] ** 0.5
        params[f"{site}/bias"] = draw(f"{site}/bias", shape.n) * 0
    return params


def logits(
    settings: Settings, params: dict[str, Tensor], inner: dict[str, Tensor], inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    found = {}
    for site, acts in inner.items():
        mine = {
            key.removeprefix(f"{site}/"): value for key, value in params.items() if key.startswith(f"{site}/")
        }
        found[site] = _tabulated(settings, mine, acts) if settings.nodes else _exact(settings, mine, acts)
    return found


def _exact(settings: Settings, params: dict[str, Tensor], acts: Tensor) -> Tensor:
    """Multiply and sum by hand: as batched matrix products the tiny inner sizes cost three times as much."""
    from torch.nn import functional as F

    x = F.gelu(acts[..., None] * params["w0"][:, 0] + params["b0"])
    for i in range(1, len(settings.hidden)):
        x = F.gelu((x.unsqueeze(-2) @ params[f"w{i}"]).squeeze(-2) + params[f"b{i}"])
    return (x * params["out"]).sum(-1) + params["bias"]


def _tabulated(settings: Settings, params: dict[str, Tensor], acts: Tensor) -> Tensor:
    """Each component's function of one number on a grid over the batch's range, interpolated linearly."""
    import torch

    flat = acts.flatten(0, -2)
    low, high = flat.detach().amin(0), flat.detach().amax(0)
    width = (high - low).clamp_min(1e-12) / (settings.nodes - 1)
    grid = low + width * torch.arange(settings.nodes, device=acts.device, dtype=acts.dtype)[:, None]
    table = _exact(settings, params, grid)
    place = (flat - low) / width
    left = place.detach().floor().clamp(0, settings.nodes - 2)
    index = left.long()
    before, after = table.gather(0, index), table.gather(0, index + 1)
    return (before + (place - left) * (after - before)).reshape(acts.shape)
