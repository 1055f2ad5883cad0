"""The k largest codes of each input stay on."""

import torch
from torch import Tensor

from digsite.graft.core.saes._linear import Params, decode, error, init, pre

__all__ = ["decode", "encode", "init", "loss"]
KNOB = "codes that stay on"


def encode(p: Params, x: Tensor, knob: Tensor) -> Tensor:
    z = pre(p, x).relu()
    k = knob.long().clamp(1, z.shape[2])
    ranked = z.detach().sort(dim=2, descending=True).values
    least = ranked.gather(2, (k - 1)[:, None, None].expand(-1, z.shape[1], 1))
    return torch.where(z >= least, z, torch.zeros_like(z))


def loss(p: Params, x: Tensor, knob: Tensor) -> Tensor:
    return error(p, x, encode(p, x, knob))
