"""Debiased linear CKA between two sets of activations on the same rows, from their Gram matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


def hsic(left: Float[Tensor, "*stack n n"], right: Float[Tensor, "*stack n n"]) -> Float[Tensor, "*stack"]:
    """Unbiased squared norm of the cross-covariance (Song et al. 2012, eq. 5); diagonals do not count."""
    return _hsic(left, right, _Sums.of(left), _Sums.of(right))


def cka(left: Float[Tensor, "*stack n n"], right: Float[Tensor, "*stack n n"]) -> Float[Tensor, "*stack"]:
    """1 for equal geometry, 0 on average for independent noise (the biased form gives .92 at n = 64, d = 768)."""
    a, b = _Sums.of(left), _Sums.of(right)
    own = _hsic(left, left, a, a).clamp_min(0) * _hsic(right, right, b, b).clamp_min(0)
    return _hsic(left, right, a, b) / own.sqrt().clamp_min(torch.finfo(left.dtype).tiny)


@dataclass(frozen=True)
class _Sums:
    """Diagonal, and row sums and total without it."""

    diagonal: Tensor
    rows: Tensor
    total: Tensor

    @staticmethod
    def of(matrix: Tensor) -> _Sums:
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        rows = matrix.sum(-1) - diagonal
        return _Sums(diagonal, rows, rows.sum(-1))


def _hsic(left: Tensor, right: Tensor, a: _Sums, b: _Sums) -> Tensor:
    n = left.shape[-1]
    trace = torch.linalg.vecdot(left.flatten(-2), right.flatten(-2)) - torch.linalg.vecdot(
        a.diagonal, b.diagonal
    )
    sums = a.total * b.total / ((n - 1) * (n - 2))
    cross = torch.linalg.vecdot(a.rows, b.rows) * (2 / (n - 2))
    return (trace + sums - cross) / (n * (n - 3))
