"""Maps between two feature spaces, in closed form: ridge regression and the orthogonal Procrustes rotation."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Affine:
    """y = x @ weight.T + bias."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.bias

    def layer(self) -> nn.Linear:
        out = nn.Linear(self.weight.shape[1], self.weight.shape[0]).to(self.weight)
        out.weight.data, out.bias.data = self.weight.clone(), self.bias.clone().to(self.weight)
        return out

    def then_rows(self, rows: Tensor, biases: Tensor) -> tuple[Tensor, Tensor]:
        """Rows that read y, rewritten so that they read x."""
        return rows @ self.weight, rows @ self.bias + biases


@dataclass(frozen=True)
class Design:
    """The features of a ridge regression, factored once for any number of targets; the offset is not penalized."""

    x: Tensor
    mean: Tensor
    factor: Tensor

    @classmethod
    def of(cls, x: Tensor, strength: float) -> "Design":
        """`strength` is relative to the mean squared feature."""
        x64 = x.double()
        mean = x64.mean(0)
        x64 -= mean
        gram = x64.T @ x64
        gram.diagonal().add_(strength * gram.diagonal().mean().clamp_min(1e-12))
        return cls(x, mean, torch.linalg.cholesky(gram))

    def onto(self, y: Tensor) -> Affine:
        y64 = y.double()
        middle = y64.mean(0)
        w = torch.cholesky_solve(self.x.double().T @ (y64 - middle), self.factor).T
        return Affine(w.to(y.dtype), (middle - w @ self.mean).to(y.dtype))


def ridge(x: Tensor, y: Tensor, strength: float = 1e-3) -> Affine:
    """Least squares with an unpenalized offset."""
    return Design.of(x, strength).onto(y)


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
