"""Rank-one parts of matrices: initial values, an exact sum, and modules that share their parts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.decompose.config import FaithfulnessWarmup
from digsite.decompose.core.gates import Draw, Shapes
from digsite.decompose.core.scene import IS_EXACT, get_factors
from digsite.decompose.core.starts import Seen, find_start

Reads = Callable[
    [Tensor], Tensor
]  # columns (d_in, n) -> their inner activations (positions, n) on the first batches


def start_parts(
    shapes: Shapes,
    matrices: dict[str, Tensor],
    owners: dict[str, str],
    scheme: str,
    draw: Draw,
    reads: dict[str, Reads],
    *,
    exact: bool = False,
) -> dict[str, Tensor]:
    """V (d_in, C) and U (C, d_out) of every site that owns its parts; with `exact` their mixing A (C, C) too."""
    params = {}
    for site, shape in shapes.items():
        if owners[site] != site:
            continue

        def named(name: str, *size: int, site: str = site) -> Tensor:
            return draw(f"{site}/{name}", *size)

        v, u = find_start(scheme).make_parts(Seen(matrices[site], shape.n, named, reads[site]))
        params |= {f"{site}/V": v, f"{site}/U": u}
        if exact:
            # Parts to spare would stay zero for ever at an exact identity: a trace of mixing lets them be found.
            spare = (u.norm(dim=1) == 0).to(v)
            params[f"{site}/{IS_EXACT}"] = torch.eye(shape.n).to(v) + 0.1 * spare * named(
                "A", shape.n, shape.n
            ).to(v)
    return params


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


def fold_mixing(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same parts with their mixing multiplied in, as they are stored."""
    folded = dict(params)
    for key in [key for key in params if key.endswith(f"/{IS_EXACT}") and not key.startswith("gate/")]:
        site = key.removesuffix(f"/{IS_EXACT}")
        folded[f"{site}/V"], folded[f"{site}/U"] = get_factors(params, {site: site}, site)
        del folded[key]
    return folded


def list_part_keys(params: dict[str, Tensor]) -> list[str]:
    """Names of what belongs to the parts: neither gates nor the sources of an adversary."""
    return [key for key in params if not key.startswith(("gate/", "source/"))]


def learn_to_add_up(
    params: dict[str, Tensor], matrices: dict[str, Tensor], owners: dict[str, str], warm: FaithfulnessWarmup
) -> None:
    """First steps on faithfulness alone, in place; the parts of K members at once."""
    # Not by the trainer: the loss is of weights alone, so there are no examples to feed.
    optimizer = torch.optim.AdamW(list(params.values()), lr=warm.lr, weight_decay=warm.weight_decay)
    n = sum(matrix[0].numel() for matrix in matrices.values())
    for _ in range(warm.steps):
        gaps = [matrix - multiply_factors(params, owners, site) for site, matrix in matrices.items()]
        loss = torch.stack([gap.square().sum() for gap in gaps]).sum() / n
        for value, slope in zip(
            params.values(), torch.autograd.grad(loss, list(params.values())), strict=True
        ):
            value.grad = slope
        optimizer.step()
    if not all(value.isfinite().all() for value in params.values()):
        raise UsageError(
            "The first steps, on faithfulness alone, left numbers that are not finite.",
            hint="Lower decompose.faithfulness_warmup.lr or its weight_decay.",
        )


def multiply_factors(params: dict[str, Tensor], owners: dict[str, str], site: str) -> Tensor:
    """The sum of a site's parts, (d_in, d_out)."""
    v, u = get_factors(params, owners, site)
    return v @ u
