"""ReLU codes with an L1 penalty, each code weighed by the length of its decoder row."""

import torch
from torch import Tensor

from digsite.graft.core.saes._linear import Params, decode, error, init, pre

__all__ = ["decode", "encode", "init", "loss"]
KNOB = "penalty on the mean code"


def encode(p: Params, x: Tensor, knob: Tensor) -> Tensor:
    return pre(p, x).relu()


def loss(p: Params, x: Tensor, knob: Tensor) -> Tensor:
    z = encode(p, x, knob)
    size = p["W_dec"].norm(dim=2)
    return error(p, x, z) + knob * torch.einsum("knm,km->k", z, size) / x.shape[1] / x.shape[2]
