"""Precision and recall of what a mask keeps, where it is known which weights matter."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

Masks = Mapping[str, Bool[Tensor, "out in"]]


@dataclass(frozen=True)
class MaskTruth:
    """`precision`: share of needed weights among the kept that are needed or idle; `recall`: share of the needed that are
    kept; `chance`: the precision of a mask that keeps as many at random. `kept` counts needed and idle weights."""

    precision: float
    recall: float
    chance: float
    kept: int


def score_mask(keep: Masks, needed: Masks, idle: Masks) -> MaskTruth:
    """Pooled over all maps; zeros of the dense network are neither needed nor idle and are not counted."""
    hits = sum(int((keep[name] & needed[name]).sum()) for name in needed)
    false = sum(int((keep[name] & idle[name]).sum()) for name in needed)
    n_needed = sum(int(mask.sum()) for mask in needed.values())
    n_idle = sum(int(mask.sum()) for mask in idle.values())
    return MaskTruth(
        hits / max(hits + false, 1),
        hits / max(n_needed, 1),
        n_needed / max(n_needed + n_idle, 1),
        hits + false,
    )


def right_counts(needed: Masks, slack: float = 1.0) -> dict[str, int]:
    """Weights to prune in every map so that `slack` times as many stay as are needed there."""
    return {
        name: mask.numel() - min(mask.numel(), round(slack * int(mask.sum())))
        for name, mask in needed.items()
    }


def share_answered(said: Tensor, wanted: Tensor) -> float:
    """Positions behind the first at which the largest output is the same as the program's."""
    return float((said.argmax(-1) == wanted.argmax(-1))[:, 1:].float().mean())


def random_mask(
    needed: Masks, idle: Masks, counts: Mapping[str, int], draw: torch.Generator
) -> dict[str, Tensor]:
    """The null: as many weights of every map as a pruner keeps, drawn among those that are not zero anyway."""
    masks = {}
    for name, mask in needed.items():
        score = torch.rand(mask.shape, generator=draw) + (mask | idle[name])
        n = mask.numel() - counts[name]
        chosen = torch.zeros(mask.numel(), dtype=torch.bool)
        chosen[score.flatten().topk(n).indices] = True
        masks[name] = chosen.view(mask.shape)
    return masks
