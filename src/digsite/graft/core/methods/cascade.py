"""Cascade transplant: top rows for the new class and, for each row, the strongest few below it (legacy method 7)."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.core import rows
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = True


class Options(Config):
    start: int = Field(24, gt=0, description="penultimate rows")
    fans: tuple[int, ...] = Field(
        (6, 4, 3), description="rows per row, layer by layer down; the last one repeats"
    )


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    importance = rows.head_importance(donor)
    return rows.transplant(donor, rows.cascade(donor.model, importance, options.start, list(options.fans)))


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    return rows.implant(receiver, message)
