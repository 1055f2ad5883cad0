"""Random unit directions, each part scaled by its overlap with the matrix."""

import torch
from torch import Tensor

from digsite.decompose.core.starts import Seen

ADDS_UP = False


def start(seen: Seen) -> tuple[Tensor, Tensor]:
    """V (d_in, n) and U (n, d_out)."""
    d_in, d_out = seen.matrix.shape
    v, u = seen.draw("V", d_in, seen.n), seen.draw("U", seen.n, d_out)
    v, u = v / v.norm(dim=0), u / u.norm(dim=1, keepdim=True)
    return v, u * torch.einsum("ic,io,co->c", v, seen.matrix, u)[:, None]
