"""A whole path of rows from the new class down, a fixed number per layer (legacy method 5)."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.core import rows
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = True


class Options(Config):
    n_top: int = Field(16, gt=0, description="penultimate rows; twice as many in each layer further down")


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    counts = [options.n_top * 2**i for i in range(16)]
    return rows.transplant(donor, rows.totals(donor.model, rows.head_importance(donor), counts))


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    return rows.implant(receiver, message)
