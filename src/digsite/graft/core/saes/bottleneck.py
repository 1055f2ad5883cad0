"""The published autoencoder: d - 2c - c with ReLU after both, c - 2c - d with ReLU between; narrower than its input."""

import torch
from torch import Tensor

from digsite.graft.core.saes._linear import Params

KNOB = "penalty on the mean code"


def init(d: int, width: int, draw: torch.Generator) -> Params:
    shapes = {
        "enc1": (d, 2 * width),
        "enc2": (2 * width, width),
        "dec1": (width, 2 * width),
        "dec2": (2 * width, d),
    }
    out: Params = {}
    for name, (fan_in, fan_out) in shapes.items():
        bound = fan_in**-0.5
        out[f"{name}/w"] = bound * (2 * torch.rand(fan_in, fan_out, generator=draw) - 1)
        out[f"{name}/b"] = bound * (2 * torch.rand(fan_out, generator=draw) - 1)
    return out


def _layer(p: Params, name: str, x: Tensor) -> Tensor:
    return torch.baddbmm(p[f"{name}/b"][:, None], x, p[f"{name}/w"])


def encode(p: Params, x: Tensor, knob: Tensor) -> Tensor:
    return _layer(p, "enc2", _layer(p, "enc1", x).relu()).relu()


def decode(p: Params, z: Tensor) -> Tensor:
    return _layer(p, "dec2", _layer(p, "dec1", z).relu())


def loss(p: Params, x: Tensor, knob: Tensor) -> Tensor:
    z = encode(p, x, knob)
    return (decode(p, z) - x).square().mean((1, 2)) + knob * z.abs().mean((1, 2))
