"""No donor: a head row fitted on labelled images of the new class; with all of them, the last layer's ceiling."""

import torch
from torch import nn

from digsite.config import Config, Field
from digsite.graft.access import Images
from digsite.graft.edits import set_rows
from digsite.graft.pair import Message, Side
from digsite.graft.tune import fit_rows

SAME_SHAPE = False


class Options(Config):
    k: int = Field(20, ge=0, description="labelled images per new class; 0 for all of them")
    n_old: int = Field(2000, gt=0, description="old-class images beside them")
    decay: float = Field(1e-3, ge=0, description="penalty on the squared row")


def budget(options: Options) -> str:
    return f"ak{options.k}" if options.k else "aF"


def message(options: Options, donor: Side) -> Message:
    return Message({})


def examples(side: Side, n_old: int) -> Images:
    """Old images and the labelled new ones of the budget."""
    old, new = side.access.old(n_old), side.access.shots()
    return Images(torch.cat([old.x, new.x]), torch.cat([old.y, new.y]), f"{old.key}+{new.key}")


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    images = examples(receiver, options.n_old)
    seen = receiver.access.lens.acts(receiver.model, images)
    wide = set_width(seen.logits, receiver.new)
    fit = fit_rows(seen.last, wide, images.y, receiver.new, decay=options.decay)
    return set_rows(receiver.model, receiver.head, receiver.new, fit.weight, fit.bias)


def set_width(logits: torch.Tensor, new: list[int]) -> torch.Tensor:
    missing = max(new) + 1 - logits.shape[1]
    return logits if missing <= 0 else torch.cat([logits, logits.new_full((len(logits), missing), -1e4)], 1)
