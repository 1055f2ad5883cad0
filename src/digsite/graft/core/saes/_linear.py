"""One linear encoder and one linear decoder, stacked over members: what four of the five kinds share."""

import torch
from torch import Tensor

Params = dict[str, Tensor]


def init(d: int, width: int, draw: torch.Generator) -> Params:
    """Unit decoder rows, the encoder their transpose."""
    rows = torch.randn(width, d, generator=draw)
    rows = rows / rows.norm(dim=1, keepdim=True)
    return {"W_enc": rows.T.clone(), "b_enc": torch.zeros(width), "W_dec": rows, "b_dec": torch.zeros(d)}


def pre(p: Params, x: Tensor) -> Tensor:
    return torch.baddbmm(p["b_enc"][:, None], x, p["W_enc"])


def decode(p: Params, z: Tensor) -> Tensor:
    return torch.baddbmm(p["b_dec"][:, None], z, p["W_dec"])


def error(p: Params, x: Tensor, z: Tensor) -> Tensor:
    """Mean squared error per member."""
    return (decode(p, z) - x).square().mean((1, 2))
