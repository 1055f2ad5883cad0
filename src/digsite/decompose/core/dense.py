"""Plain MLPs on a flat dictionary of parameters, for the gates that share one among components."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from digsite.decompose.core.gating import Draw


def init(sizes: list[int], prefix: str, draw: Draw) -> dict[str, Tensor]:
    """He scale for hidden layers, 1/sqrt(fan in) for the last, biases zero."""
    params = {}
    for i, (fan_in, size) in enumerate(pairwise(sizes)):
        gain = 1 if i == len(sizes) - 2 else 2
        params[f"{prefix}w{i}"] = draw(f"{prefix}w{i}", fan_in, size) * (gain / fan_in) ** 0.5
        params[f"{prefix}b{i}"] = draw(f"{prefix}b{i}", size) * 0
    return params


def forward(x: Tensor, params: dict[str, Tensor], prefix: str) -> Tensor:
    from torch.nn import functional as F

    n = sum(key.startswith(f"{prefix}w") for key in params)
    for i in range(n):
        x = x @ params[f"{prefix}w{i}"] + params[f"{prefix}b{i}"]
        x = F.gelu(x) if i < n - 1 else x
    return x


def normalized(x: Tensor) -> Tensor:
    """Root-mean-square normalization, so that modules of different scale count alike."""
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
