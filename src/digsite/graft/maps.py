"""Maps between two feature spaces, in closed form: ridge regression and the orthogonal Procrustes rotation."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Affine:
    """y = x @ weight.T + bias."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.bias

    def then_rows(self, rows: Tensor, biases: Tensor) -> tuple[Tensor, Tensor]:
        """Rows that read y, rewritten so that they read x."""
        return rows @ self.weight, rows @ self.bias + biases


def ridge(x: Tensor, y: Tensor, strength: float = 1e-3, weights: Tensor | None = None) -> Affine:
    """Least squares with an unpenalized offset; `strength` is relative to the mean squared feature."""
    x64, y64 = x.double(), y.double()
    mass = (
        torch.ones(len(x64), 1, dtype=torch.float64) if weights is None else weights.double().reshape(-1, 1)
    )
    total = mass.sum()
    mx, my = (mass * x64).sum(0) / total, (mass * y64).sum(0) / total
    xc, yc = x64 - mx, y64 - my
    gram = (mass * xc).T @ xc
    lift = strength * gram.diagonal().mean().clamp_min(1e-12)
    gram.diagonal().add_(lift)
    w = torch.linalg.solve(gram, (mass * xc).T @ yc).T
    return Affine(w.to(x.dtype), (my - w @ mx).to(x.dtype))


def rotation(x: Tensor, y: Tensor, *, centered: bool = True) -> Affine:
    """The orthogonal Q (semi-orthogonal between unequal widths) that minimizes |x Q^T - y|."""
    mx, my = (x.mean(0), y.mean(0)) if centered else (x.new_zeros(x.shape[1]), y.new_zeros(y.shape[1]))
    u, _, vt = torch.linalg.svd((y - my).T @ (x - mx), full_matrices=False)
    q = u @ vt
    return Affine(q, my - q @ mx)


def fit_quality(y: Tensor, guess: Tensor) -> float:
    """Explained share of the variance (R2), over all outputs together."""
    left = (y - guess).square().sum()
    return float(1 - left / (y - y.mean(0)).square().sum().clamp_min(1e-12))
