"""Merges that add what each fine-tuning changed of one common start."""

import torch
from torch import Tensor

from digsite.base.streams import derive_seed
from digsite.graft.core.merges import Evidence, Merge, MergeSettings, State


class TaskArithmetic(Merge):
    """The start plus the scaled sum of what each fine-tuning changed (arXiv 2212.04089)."""

    NEEDS = ("start",)

    @staticmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """Every change counts `settings.scale`."""
        assert evidence.start is not None, "checked by merge_models"
        return sum_changes(evidence.start, parents, settings.scale)


class Ties(Merge):
    """TIES: trim each change to its largest entries, elect one sign per weight, average those that agree (2306.01708)."""

    NEEDS = ("start",)

    @staticmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """Of each change `settings.keep` of its entries; the merged change counts `settings.scale`."""
        assert evidence.start is not None, "checked by merge_models"
        return merge_by_ties(evidence.start, parents, settings.keep, settings.scale)


class Dare(Merge):
    """DARE: drop entries of each change at random and scale up the others, then add (arXiv 2311.03099)."""

    NEEDS = ("start",)

    @staticmethod
    def merge_states(parents: list[State], evidence: Evidence, settings: MergeSettings) -> State:
        """Every entry is dropped with probability `settings.drop`, by draws of `settings.seed`."""
        assert evidence.start is not None, "checked by merge_models"
        out = {name: weight.clone() for name, weight in evidence.start.items()}
        for i, parent in enumerate(parents):
            draw = torch.Generator().manual_seed(derive_seed(settings.seed, "graft/dare", i))
            for name, weight in evidence.start.items():
                out[name] += settings.scale * _thin_change(parent[name] - weight, settings.drop, draw)
        return out


def sum_changes(start: State, tuned: list[State], scale: float) -> State:
    """`start` + `scale` * sum of what each of the `tuned` weight sets changed."""
    return {k: v + scale * sum((t[k] - v for t in tuned), torch.zeros_like(v)) for k, v in start.items()}


def merge_by_ties(start: State, tuned: list[State], keep: float, scale: float) -> State:
    """Trim each change to its largest `keep`, elect one sign per weight by the summed change, average those that agree."""
    out: State = {}
    for k, v in start.items():
        changes = torch.stack([_trim_change(t[k] - v, keep) for t in tuned])
        sign = torch.sign(changes.sum(0))
        agree = (torch.sign(changes) == sign) & (changes != 0)
        mean = (changes * agree).sum(0) / agree.sum(0).clamp_min(1)
        out[k] = v + scale * mean
    return out


def _trim_change(change: Tensor, keep: float) -> Tensor:
    """The largest share `keep` of the entries by size, zeros in place of the others; ties at the border stay."""
    n = max(1, round(keep * change.numel()))
    least = change.abs().flatten().topk(n).values[-1]
    return torch.where(change.abs() >= least, change, torch.zeros_like(change))


def _thin_change(change: Tensor, drop: float, draw: torch.Generator) -> Tensor:
    """The same change on average, most of its entries zero."""
    keep = torch.rand(change.shape, generator=draw) >= drop
    return change * keep / (1 - drop)
