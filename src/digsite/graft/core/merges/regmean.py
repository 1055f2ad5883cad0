"""RegMean: every linear map is the one whose outputs are nearest to all parents' on what each of them reads.

The least-squares answer in closed form, W = (sum W_i G_i) (sum G_i)^-1 with G_i = X_i^T X_i, the off-diagonal shrunk as
published (Jin et al., arXiv 2212.09849). What is not a linear map is averaged.
"""

import torch
from torch import Tensor

from digsite.graft.core.merges import Evidence, MergeSettings, State

NEEDS = ("grams",)
RIDGE = 1e-6


def merge(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
    shares, out = settings.shares_of(len(parents)), {}
    for name in parents[0]:
        weights = [parent[name] for parent in parents]
        grams = [gram.get(name) for gram in evidence.grams]
        if any(gram is None for gram in grams):
            out[name] = torch.stack([s * w for s, w in zip(shares, weights, strict=True)]).sum(0)
            continue
        shrunk = [
            s * _shrunk(g, settings.shrink) for s, g in zip(shares, grams, strict=True) if g is not None
        ]
        wanted = torch.stack([w @ g for w, g in zip(weights, shrunk, strict=True)]).sum(0)
        total = torch.stack(shrunk).sum(0)
        total = total + RIDGE * total.diag().mean() * torch.eye(len(total))
        out[name] = torch.linalg.solve(total.double(), wanted.double().T).T.to(weights[0].dtype)
    return out


def _shrunk(gram: Tensor, share: float) -> Tensor:
    return share * gram + (1 - share) * torch.diag(gram.diag())
