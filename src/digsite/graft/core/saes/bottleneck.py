"""The autoencoder of the published graft methods: two layers on both sides, and narrower than what it reads."""

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.graft.core.saes import SaeKind

Params = dict[str, Tensor]


class Bottleneck(SaeKind):
    """The published autoencoder: d - 2c - c with ReLU after both, c - 2c - d with ReLU between; narrower than its input."""

    @staticmethod
    def draw_parameters(d: int, width: int, draw: torch.Generator, d_out: int | None = None) -> Params:
        """Four maps "NAME/w" (in, out) with offsets "NAME/b", drawn as torch draws a linear layer."""
        shapes = {
            "enc1": (d, 2 * width),
            "enc2": (2 * width, width),
            "dec1": (width, 2 * width),
            "dec2": (2 * width, d_out or d),
        }
        out: Params = {}
        for name, (fan_in, fan_out) in shapes.items():
            bound = fan_in**-0.5
            out[f"{name}/w"] = bound * (2 * torch.rand(fan_in, fan_out, generator=draw) - 1)
            out[f"{name}/b"] = bound * (2 * torch.rand(fan_out, generator=draw) - 1)
        return out

    @staticmethod
    def encode_stacked(
        p: Params, x: Float[Tensor, "K n d"], knob: Float[Tensor, "K"]
    ) -> Float[Tensor, "K n codes"]:
        """Two layers, ReLU after both."""
        return _apply_map(p, "enc2", _apply_map(p, "enc1", x).relu()).relu()

    @staticmethod
    def decode_stacked(p: Params, z: Float[Tensor, "K n codes"]) -> Float[Tensor, "K n d_out"]:
        """Two layers, ReLU between."""
        return _apply_map(p, "dec2", _apply_map(p, "dec1", z).relu())

    @staticmethod
    def measure_loss(
        p: Params, x: Float[Tensor, "K n d"], knob: Float[Tensor, "K"], wanted: Float[Tensor, "K n d_out"]
    ) -> Float[Tensor, "K"]:
        """Squared error, and `knob` times the mean code."""
        z = Bottleneck.encode_stacked(p, x, knob)
        error = (Bottleneck.decode_stacked(p, z) - wanted).square().mean((1, 2))
        return error + knob * z.abs().mean((1, 2))


def _apply_map(p: Params, name: str, x: Tensor) -> Tensor:
    """One linear layer of every member."""
    return torch.baddbmm(p[f"{name}/b"][:, None], x, p[f"{name}/w"])
