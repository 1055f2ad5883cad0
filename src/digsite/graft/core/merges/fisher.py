"""Fisher merging: every weight is the mean of the parents', each counting by how sharply its loss depends on it.

The diagonal Fisher information is the mean squared gradient of the log-likelihood of the model's own answers
(Matena and Raffel, arXiv 2111.09832). A weight that no parent depends on is the plain average.
"""

import torch

from digsite.graft.core.merges import Evidence, MergeSettings, State

NEEDS = ("fisher",)
FLOOR = 1e-10  # keeps 0/0 from happening and makes the plain average of weights that nothing depends on


def merge(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
    shares, out = settings.shares_of(len(parents)), {}
    for name, first in parents[0].items():
        weights = [
            share * (fisher.get(name, torch.zeros_like(first)) + FLOOR)
            for share, fisher in zip(shares, evidence.fisher, strict=True)
        ]
        total = torch.stack(weights).sum(0)
        out[name] = torch.stack([w * p[name] for w, p in zip(weights, parents, strict=True)]).sum(0) / total
    return out
