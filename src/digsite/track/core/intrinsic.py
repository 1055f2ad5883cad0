"""TwoNN intrinsic dimension: the law of the ratio of the two nearest neighbors' distances, at several scales."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.track.core.spectrum import Grams


def squared_distances(grams: Grams) -> Float[Tensor, "*stack n n"]:
    norms = grams.rows.diagonal(dim1=-2, dim2=-1)
    return (norms[..., :, None] + norms[..., None, :] - 2 * grams.rows).clamp_min(0)


def two_nn(squared: Float[Tensor, "*stack n n"]) -> Float[Tensor, "*stack"]:
    """Maximum likelihood of d from P(r2/r1 > m) = m^-d; (N - 1) / sum log m is its unbiased form.

    Of rows that are equal up to rounding one stays; nan when fewer than ten are left.
    """
    n = squared.shape[-1]
    floor = 64 * torch.finfo(squared.dtype).eps * squared.amax((-2, -1), keepdim=True)
    twins = (squared <= floor).tril(-1).any(-1)
    hidden = twins[..., :, None] | twins[..., None, :] | torch.eye(n, dtype=torch.bool, device=squared.device)
    apart = squared.double().masked_fill(hidden, torch.inf)
    first, place = apart.min(-1, keepdim=True)  # twice a minimum: topk takes several times as long
    second = apart.scatter(-1, place, torch.inf).amin(-1, keepdim=True)
    logs = torch.where(twins, 0.0, 0.5 * torch.log(second / first)[..., 0])
    kept, total = n - twins.sum(-1), logs.sum(-1)
    return torch.where((kept >= 10) & (total > 0), (kept - 1) / total, torch.nan)


def two_nn_scan(
    squared: Float[Tensor, "n n"], generator: torch.Generator, levels: int = 4
) -> list[tuple[int, float]]:
    """TwoNN on random halves, quarters ...: fewer points mean larger distances. A flat scan means one dimension."""
    n = len(squared)
    order = torch.randperm(n, generator=generator)
    scan = []
    for level in range(levels):
        size = n >> level
        if size < 16:
            break
        parts = [order[k * size : (k + 1) * size] for k in range(1 << level)]
        values = two_nn(torch.stack([squared[part][:, part] for part in parts]))
        scan.append((size, float(values.nanmean())))
    return scan
