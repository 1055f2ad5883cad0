"""Codes above a learned threshold stay as they are; the number of open codes is penalized (Rajamanoharan 2024)."""

import torch
from torch import Tensor

from digsite.graft.core.saes import _linear
from digsite.graft.core.saes._linear import Params, decode, error, pre

__all__ = ["decode", "encode", "init", "loss"]
KNOB = "penalty on the number of open codes"
WIDTH = 0.05  # of the window in which a threshold feels its gradient


def init(d: int, width: int, draw: torch.Generator) -> Params:
    return {**_linear.init(d, width, draw), "threshold": torch.full((width,), 0.01)}


class _Gate(torch.autograd.Function):
    """Heaviside step whose threshold gets a rectangle-kernel gradient; torch has no such estimator."""

    @staticmethod
    def forward(ctx, z: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(z, threshold)
        return (z > threshold).to(z)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, Tensor]:
        z, threshold = ctx.saved_tensors
        near = ((z - threshold).abs() < WIDTH / 2).to(z) / WIDTH
        return torch.zeros_like(z), (-near * grads[0]).sum(1, keepdim=True)


def encode(p: Params, x: Tensor, knob: Tensor) -> Tensor:
    z = pre(p, x).relu()
    return z * (z > p["threshold"][:, None])


def loss(p: Params, x: Tensor, knob: Tensor) -> Tensor:
    z = pre(p, x).relu()
    gate: Tensor = _Gate.apply(z, p["threshold"][:, None])  # pyright: ignore[reportAssignmentType]
    return error(p, x, z * gate) + knob * gate.sum(2).mean(1) / x.shape[2]
