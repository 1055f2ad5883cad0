"""Along the nonlinearity: one part for each output of the matrix where it is the smaller side, else for each input.

A matrix that feeds neurons is split by neuron (each part writes to one), a matrix that reads them likewise.
"""

import torch
from torch import Tensor

from digsite.decompose.core.starts import Seen
from digsite.decompose.core.starts.singular import fill_up

ADDS_UP = True


def start(seen: Seen) -> tuple[Tensor, Tensor]:
    """V (d_in, n) and U (n, d_out); the strongest n neurons where there are more."""
    w = seen.matrix.double()
    d_in, d_out = w.shape
    by_output = d_out <= d_in if d_out != d_in else True
    v, u = (w, torch.eye(d_out, dtype=w.dtype)) if by_output else (torch.eye(d_in, dtype=w.dtype), w)
    kept = (v.norm(dim=0) > 0) & (u.norm(dim=1) > 0)
    return fill_up(v[:, kept], u[kept], seen)
