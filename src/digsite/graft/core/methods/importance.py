"""The penultimate rows that the new class reads most, and its head row (legacy method 3)."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.core import rows
from digsite.graft.core.nets import layers
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = True


class Options(Config):
    n_rows: int = Field(8, gt=0, description="penultimate rows to copy")
    n_first: int = Field(
        0, ge=0, description="rows of the first layer to copy as well, by weight into those rows"
    )


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    importance = rows.head_importance(donor)
    top = len(layers(donor.model)) - 2
    picks = {top: importance.topk(min(options.n_rows, len(importance))).indices}
    if options.n_first and top > 0:
        counts = [options.n_rows] * top + [options.n_first]
        picks[0] = rows.totals(donor.model, importance, counts)[0]
    return rows.transplant(donor, picks)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    return rows.implant(receiver, message)
