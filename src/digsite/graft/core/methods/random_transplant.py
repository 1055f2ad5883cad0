"""Null of the cascade: as many rows per layer, chosen at random."""

import torch
from torch import nn

from digsite.config import Config, Field
from digsite.graft.core import rows
from digsite.graft.core.nets import layers
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = True


class Options(Config):
    start: int = Field(24, gt=0, description="penultimate rows")
    fans: tuple[int, ...] = Field((6, 4, 3), description="as in the cascade, whose sizes are matched")


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    sizes = rows.cascade(donor.model, rows.head_importance(donor), options.start, list(options.fans))
    widths = [len(m.weight) for m in layers(donor.model).values()]
    draw = donor.generator("random-rows")
    picks = {k: torch.randperm(widths[k], generator=draw)[: len(v)] for k, v in sizes.items()}
    return rows.transplant(donor, picks)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    return rows.implant(receiver, message)
