"""Singular vectors: the parts add up to the matrix from the first step on, with the fewest that can."""

import torch
from torch import Tensor

from digsite.decompose.core.starts import Seen

ADDS_UP = True
TOLERANCE = 1e-5  # singular values below this share of the largest are what float32 leaves of a zero


def numerical_rank(matrix: Tensor) -> int:
    """Singular values of a matrix (d_in, d_out) that are more than rounding errors."""
    values = torch.linalg.svdvals(matrix.double())
    return int((values > TOLERANCE * values[:1].clamp_min(1e-30)).sum()) if values.max() > 1e-12 else 0


def truncated_svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left vectors (d_in, r), values (r,), right vectors (r, d_out) in float64, r being the numerical rank."""
    r = numerical_rank(matrix)
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    return left[:, :r], values[:r], right[:r]


def fill_up(v: Tensor, u: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
    """The n strongest parts with unit columns in V; parts to spare read something random and write nothing."""
    sizes = v.norm(dim=0)
    v, u = v / sizes.clamp_min(1e-30), u * sizes[:, None]
    order = u.norm(dim=1).argsort(descending=True, stable=True)[: seen.n]
    v, u = v[:, order], u[order]
    spare = seen.n - v.shape[1]
    if spare:
        more = seen.draw("V", v.shape[0], spare).to(v)
        v = torch.cat([v, more / more.norm(dim=0)], 1)
        u = torch.cat([u, u.new_zeros(spare, u.shape[1])])
    return v.to(seen.matrix.dtype), u.to(seen.matrix.dtype)


def start(seen: Seen) -> tuple[Tensor, Tensor]:
    """V (d_in, n) and U (n, d_out)."""
    left, values, right = truncated_svd(seen.matrix)
    return fill_up(left, values[:, None] * right, seen)
