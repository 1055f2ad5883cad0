"""Rows mixed into the receiver's in proportion to their importance, less and less further down (legacy method 4)."""

import torch
from torch import nn

from digsite.config import Config, Field
from digsite.graft.core import rows
from digsite.graft.core.nets import layers
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = True


class Options(Config):
    ratio: float = Field(0.8, gt=0, le=1, description="donor's share in the penultimate layer")
    step: float = Field(0.2, ge=0, description="by how much the share falls with each layer down")
    n_middle: int = Field(
        32, gt=0, description="rows touched in each layer between the top two and the first"
    )
    n_first: int = Field(64, gt=0, description="rows touched in the first layer")


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    importance = rows.head_importance(donor)
    top = len(layers(donor.model)) - 2
    widths = [len(m.weight) for m in layers(donor.model).values()]
    counts = [
        widths[top],
        *[widths[top - 1] if d == 1 else options.n_middle for d in range(1, top)],
        options.n_first,
    ]
    picks = rows.totals(donor.model, importance, counts)
    taken = rows.transplant(donor, picks)
    shares = rows.strength(donor.model, picks, importance)
    return Message({**taken.tensors, **{f"{layer}/share": share for layer, share in shares.items()}})


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    top = len(layers(receiver.model)) - 2
    mix: dict[int, torch.Tensor] = {}
    for key, share in message.tensors.items():
        if key.endswith("/share"):
            layer = int(key.split("/")[0])
            mix[layer] = share * max(options.ratio - options.step * (top - layer), options.step)
    return rows.implant(receiver, message, mix)
