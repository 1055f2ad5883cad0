"""The donor's head row for the new class, copied as it is (legacy method 1)."""

from torch import nn

from digsite.config import Config
from digsite.graft.core import rows
from digsite.graft.core.edits import set_rows
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = True


class Options(Config):
    """Nothing to choose."""


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    return rows.head_rows(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    top = message.under("head/")
    return set_rows(receiver.model, receiver.head, receiver.new, top["weight"], top["bias"])
