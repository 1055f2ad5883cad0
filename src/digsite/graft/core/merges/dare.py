"""DARE: drop entries of each change at random and scale up the others, then add (arXiv 2311.03099)."""

import torch
from torch import Tensor

from digsite.base.streams import derive_seed
from digsite.graft.core.merges import Evidence, MergeSettings, State

NEEDS = ("start",)


def merge(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
    assert evidence.start is not None
    out = {name: weight.clone() for name, weight in evidence.start.items()}
    for i, parent in enumerate(parents):
        draw = torch.Generator().manual_seed(derive_seed(settings.seed, "graft/dare", i))
        for name, weight in evidence.start.items():
            out[name] += settings.scale * _thinned(parent[name] - weight, settings.drop, draw)
    return out


def _thinned(change: Tensor, drop: float, draw: torch.Generator) -> Tensor:
    """The same change on average, most of its entries zero."""
    keep = torch.rand(change.shape, generator=draw) >= drop
    return change * keep / (1 - drop)
