"""The n times k largest codes of a batch of n stay on; afterwards a fixed threshold that keeps as many."""

import torch
from torch import Tensor

from digsite.graft.core.saes import _linear
from digsite.graft.core.saes._linear import Params, decode, error, pre

__all__ = ["decode", "encode", "init", "loss"]
KNOB = "codes that stay on, on average"
PACE = 0.02  # of the running threshold


def init(d: int, width: int, draw: torch.Generator) -> Params:
    return {**_linear.init(d, width, draw), "threshold": torch.zeros(1)}


def encode(p: Params, x: Tensor, knob: Tensor) -> Tensor:
    z = pre(p, x).relu()
    return torch.where(z >= p["threshold"][:, :, None], z, torch.zeros_like(z))


def loss(p: Params, x: Tensor, knob: Tensor) -> Tensor:
    z = pre(p, x).relu()
    n, m = z.shape[1:]
    keep = (knob * n).long().clamp(1, n * m)
    ranked = z.detach().flatten(1).sort(dim=1, descending=True).values
    least = ranked.gather(1, keep[:, None] - 1)
    with torch.no_grad():  # the threshold is followed, not descended
        p["threshold"].lerp_(least, PACE)
    return error(p, x, torch.where(z >= least[:, :, None], z, torch.zeros_like(z)))
