"""What a finite probe does to a dimension: bootstrap bars at the price of an index, bias correction, and the cap."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.track.core.similarity import hsic
from digsite.track.core.spectrum import Grams


def bootstrap(
    grams: Grams, generator: torch.Generator, draws: int = 100
) -> tuple[Float[Tensor, "draws"], Float[Tensor, "draws"]]:
    """Variance participation ratio, raw and centered, of resampled rows.

    A row drawn twice is the same row: the resampled Gram is an index of the Gram, no product is repeated. The
    bootstrap of a dimension is biased low like the dimension itself, so use its spread, not its mean.
    """
    raw, centered = [], []
    for _ in range(draws):
        rows = torch.randint(grams.n, (grams.n,), generator=generator)
        again = Grams(grams.rows[..., rows[:, None], rows[None, :]], grams.n_features)
        raw.append(again.energy.square() / again.energy2)
        centered.append(again.centered.energy.square() / again.centered.energy2)
    return torch.stack(raw).squeeze(), torch.stack(centered).squeeze()


def unbiased_participation(grams: Grams, *, centered: bool = True) -> Float[Tensor, "*stack"]:
    """Variance participation ratio from unbiased estimates of (tr C)^2 and tr C^2.

    Raw: U-statistics over pairs of rows. Centered: tr C^2 is the unbiased HSIC of the rows with themselves, and the
    square of the trace loses 2 tr C^2 / (n - 1), its variance for Gaussian rows.
    """
    n = grams.n
    if centered:
        fourth = hsic(grams.rows, grams.rows)
        second = (grams.centered.energy / (n - 1)).square() - 2 * fourth / (n - 1)
    else:
        diagonal = grams.rows.diagonal(dim1=-2, dim2=-1)
        pairs = n * (n - 1)
        fourth = (grams.energy2 - diagonal.square().sum(-1)) / pairs
        second = (grams.energy.square() - diagonal.square().sum(-1)) / pairs
    return second / fourth.clamp_min(torch.finfo(fourth.dtype).tiny)


def capped(dimension: float, n: int) -> bool:
    """A dimension above a quarter of the rows says more about the probe than about the network."""
    return dimension > n / 4
