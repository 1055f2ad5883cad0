"""What a dictionary's codes mean in activation space: one direction per code, whatever its decoder is made of."""

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.graft.core.dictionaries import Sae


@torch.no_grad()
def directions_of(sae: Sae, x: Float[Tensor, "n width"]) -> Float[Tensor, "codes width"]:
    """The change of the output per unit of each code. A linear decoder's rows; for one with a nonlinearity the finite
    difference at the mean code of `x`, where it is used."""
    params = dict(sae.stacked())
    if "W_dec" in params:
        return params["W_dec"][0] * sae.scale
    mean = sae.encode(x).mean(0)
    step = mean.abs().mean().clamp_min(1e-3)
    moved = mean + step * torch.eye(len(mean))
    return (sae.decode(moved) - sae.decode(mean[None])) / step
