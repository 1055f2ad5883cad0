"""Singular-value spectra of activations or weights from one Gram product, raw and centered, for stacks of layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from digsite.base.errors import UsageError


@dataclass(frozen=True)
class Grams:
    """Inner products of rows; everything else is read off these. Leading axes are layers or members."""

    rows: Float[Tensor, "*stack n n"]
    n_features: int

    @property
    def n(self) -> int:
        return self.rows.shape[-1]

    @cached_property
    def centered(self) -> Grams:
        """H G H with H = I - 1/n: what the rows' Gram would be after taking off the mean row."""
        across = self.rows.mean(-1, keepdim=True)
        total = across.mean(-2, keepdim=True)
        return Grams(self.rows - across - across.mT + total, self.n_features)

    @cached_property
    def energy(self) -> Float[Tensor, "*stack"]:
        """Sum of squared singular values, without a decomposition."""
        return self.rows.diagonal(dim1=-2, dim2=-1).sum(-1)

    @cached_property
    def energy2(self) -> Float[Tensor, "*stack"]:
        """Sum of fourth powers of the singular values, without a decomposition."""
        return self.rows.square().sum((-2, -1))

    @cached_property
    def mean_share(self) -> Float[Tensor, "*stack"]:
        """Share of the energy that lies in the mean row."""
        return self.rows.mean((-2, -1)) / _positive(self.energy / self.n)

    def spectrum(self) -> Spectrum:
        values = torch.linalg.eigvalsh(self.rows.double()).flip(-1).clamp_min(0)
        return Spectrum(values[..., : min(self.n, self.n_features)], self.n, self.n_features)


@dataclass(frozen=True)
class Spectrum:
    """Squared singular values, largest first; `n` rows and `n_features` columns gave them."""

    squared: Float[Tensor, "*stack k"]
    n: int
    n_features: int

    @cached_property
    def singular(self) -> Float[Tensor, "*stack k"]:
        """Square roots, with the part below the Gram's rounding floor set to zero."""
        floor = 4 * torch.finfo(torch.float32).eps * self.squared[..., :1]
        return torch.where(self.squared > floor, self.squared, 0.0).sqrt()


def _positive(x: Tensor) -> Tensor:
    return x.clamp_min(torch.finfo(x.dtype).tiny)


def grams(activations: Float[Tensor, "*stack n d"]) -> Grams:
    """Gram of the rows in the input's precision."""
    return Grams(activations @ activations.mT, activations.shape[-1])


def check(activations: Tensor, name: str = "the activations") -> Tensor:
    """A two-dimensional, finite, non-empty table of rows."""
    if activations.ndim != 2:
        raise UsageError(
            f"A table of rows x features is needed; {name} have shape {tuple(activations.shape)}."
        )
    if 0 in activations.shape:
        raise UsageError(f"The probe is empty: {name} have shape {tuple(activations.shape)}.")
    if not torch.isfinite(activations).all():
        bad = int((~torch.isfinite(activations)).sum())
        raise UsageError(f"{bad} of {activations.numel()} values of {name} are not finite.")
    return activations


def spectrum(table: Float[Tensor, "n d"], *, centered: bool = False) -> Spectrum:
    """Squared singular values through the smaller of the two Gram matrices."""
    n, d = table.shape
    if n <= d:
        rows = grams(table)
        values = (rows.centered if centered else rows).spectrum().squared
    else:
        product = table.mT @ table
        if centered:
            mean = table.mean(0).to(product.dtype)
            product = product - n * torch.outer(mean, mean)
        values = torch.linalg.eigvalsh(product.double()).flip(-1).clamp_min(0)
    return Spectrum(values, n, d)


def squared_singular(table: Float[Tensor, "n d"]) -> Float[Tensor, "k"]:
    """Squared singular values, largest first, through one triangle of the smaller Gram: half the product.

    SciPy's solver, because torch's takes a fourth longer past 200 rows; on a GPU, torch's own.
    """
    short = table if table.shape[0] <= table.shape[1] else table.mT
    if table.device.type == "cpu" and table.dtype == torch.float32:
        triangle = scipy.linalg.blas.ssyrk(1.0, short.contiguous().numpy().T, trans=1, lower=1)
        found = scipy.linalg.eigvalsh(triangle, driver="ev", check_finite=False, overwrite_a=True)
        values = torch.from_numpy(found)
    else:
        values = torch.linalg.eigvalsh(short @ short.mT)
    return values.flip(-1).clamp_min(0).double()


def top_energy(
    rows: Float[Tensor, "*stack n n"], start: Float[Tensor, "*stack n"] | None = None, iterations: int = 10
) -> tuple[Float[Tensor, "*stack"], Float[Tensor, "*stack n"]]:
    """Largest eigenvalue and vector by Lanczos with full reorthogonalization; `start` is the last step's vector.

    Written out because SciPy's has no stacks and no warm start on tensors.
    """
    n = rows.shape[-1]
    vector = rows.sum(-1) if start is None else start
    # A little of everything: an exact but wrong eigenvector as the start would never leave its space.
    nudge = torch.linspace(-1, 1, n, dtype=rows.dtype, device=rows.device) / n**0.5
    vector = vector / _positive(vector.norm(dim=-1, keepdim=True)) + 1e-2 * nudge
    basis = [vector / _positive(vector.norm(dim=-1, keepdim=True))]
    for _ in range(min(iterations, n) - 1):
        span = torch.stack(basis, -1)
        step = (rows @ basis[-1][..., None])[..., 0]
        for _ in range(2):
            step = step - (span @ (span.mT @ step[..., None]))[..., 0]
        basis.append(step / _positive(step.norm(dim=-1, keepdim=True)))
    span = torch.stack(basis, -1)
    values, vectors = torch.linalg.eigh(span.mT @ rows @ span)
    return values[..., -1], (span @ vectors[..., -1:])[..., 0]
