"""TwoNN intrinsic dimension: the law of the ratio of the two nearest neighbors' distances, at several scales."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.track.spectrum import Grams


def squared_distances(grams: Grams) -> Float[Tensor, "*stack n n"]:
    norms = grams.rows.diagonal(dim1=-2, dim2=-1)
    return (norms[..., :, None] + norms[..., None, :] - 2 * grams.rows).clamp_min(0)


def two_nn(squared: Float[Tensor, "n n"]) -> float:
    """Maximum likelihood of d from P(r2/r1 > m) = m^-d; (N - 1) / sum log m is its unbiased form.

    Of rows that are equal up to rounding one stays; nan when fewer than ten are left.
    """
    floor = 64 * torch.finfo(squared.dtype).eps * squared.max()
    twins = (squared <= floor).tril(-1).any(-1)
    apart = squared[~twins][:, ~twins].double()
    if len(apart) < 10:
        return float("nan")
    nearest = apart.fill_diagonal_(torch.inf).topk(2, dim=-1, largest=False).values
    logs = 0.5 * torch.log(nearest[:, 1] / nearest[:, 0])
    return float((len(logs) - 1) / logs.sum()) if float(logs.sum()) > 0 else float("nan")


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
        values = torch.tensor([two_nn(squared[part][:, part]) for part in parts])
        scan.append((size, float(values.nanmean())))
    return scan
