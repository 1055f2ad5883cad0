"""Rank-one parts of matrices: initial values, the residual Delta, and modules that share their parts."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from digsite.decompose.config import FaithfulnessWarmup
from digsite.decompose.core.gating import Draw, Shapes

Init = Literal["fan", "overlap"]


def init(
    shapes: Shapes, matrices: dict[str, Tensor], owners: dict[str, str], scheme: Init, draw: Draw
) -> dict[str, Tensor]:
    """V (d_in, C) and U (C, d_out) of every site that owns its parts."""
    params = {}
    for site, shape in shapes.items():
        if owners[site] != site:
            continue
        v, u = draw(f"{site}/V", shape.d_in, shape.n), draw(f"{site}/U", shape.n, shape.d_out)
        params |= dict(zip((f"{site}/V", f"{site}/U"), SCHEMES[scheme](v, u, matrices[site]), strict=True))
    return params


def _fan(v: Tensor, u: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations 1/sqrt(d_in) and 1/sqrt(C)."""
    return v / v.shape[0] ** 0.5, u / u.shape[0] ** 0.5


def _overlap(v: Tensor, u: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Unit directions, each part scaled by its overlap with the matrix."""
    v, u = v / v.norm(dim=0), u / u.norm(dim=1, keepdim=True)
    return v, u * torch.einsum("ic,io,co->c", v, matrix, u)[:, None]


SCHEMES = {"fan": _fan, "overlap": _overlap}


def find_owners(stacked: dict[str, Tensor], tied: bool) -> dict[str, str]:
    """Each site's owner of parts: itself, or an earlier site whose matrix is its exact transpose.

    Sharing one pair of factors gives one optimizer step on the summed gradient, as a tied weight should get.
    """
    owners: dict[str, str] = {}
    for site, matrix in stacked.items():
        twins = [o for o in owners if owners[o] == o and torch.equal(stacked[o].mT, matrix)]
        is_new = (
            not twins
            or not tied
            or torch.equal(matrix, torch.eye(*matrix.shape[-2:]).to(matrix).expand_as(matrix))
        )
        owners[site] = site if is_new else twins[0]
    return owners


def factors(params: dict[str, Tensor], owners: dict[str, str], site: str) -> tuple[Tensor, Tensor]:
    """(V, U) of a site; a borrower sees its owner's parts transposed."""
    owner = owners[site]
    v, u = params[f"{owner}/V"], params[f"{owner}/U"]
    return (v, u) if owner == site else (u.mT, v.mT)


def learn_to_add_up(
    params: dict[str, Tensor], matrices: dict[str, Tensor], owners: dict[str, str], warm: FaithfulnessWarmup
) -> None:
    """First steps on faithfulness alone, in place; the parts of K members at once."""
    optimizer = torch.optim.AdamW(list(params.values()), lr=warm.lr, weight_decay=warm.weight_decay)
    n = sum(matrix[0].numel() for matrix in matrices.values())
    for _ in range(warm.steps):
        gaps = [matrix - _product(params, owners, site) for site, matrix in matrices.items()]
        loss = torch.stack([gap.square().sum() for gap in gaps]).sum() / n
        for value, slope in zip(
            params.values(), torch.autograd.grad(loss, list(params.values())), strict=True
        ):
            value.grad = slope
        optimizer.step()


def _product(params: dict[str, Tensor], owners: dict[str, str], site: str) -> Tensor:
    v, u = factors(params, owners, site)
    return v @ u
