"""Along the great circle between two parents, each weight tensor apart, its length on the line between theirs."""

import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.graft.core.merges import Evidence, MergeSettings, State

NEEDS = ()
NEARLY = 1e-4  # of the angle: below it the circle and the line are the same


def merge(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
    if len(parents) != 2:
        raise UsageError(
            f"slerp merges two models, and {len(parents)} were given.", hint="Use average for more."
        )
    share = settings.shares_of(2)[1]
    return {name: _between(parents[0][name], parents[1][name], share) for name in parents[0]}


def _between(a: Tensor, b: Tensor, share: float) -> Tensor:
    cosine = (a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12)
    angle = torch.arccos(cosine.clamp(-1, 1))
    if float(torch.sin(angle)) < NEARLY:
        return torch.lerp(a, b, share)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
