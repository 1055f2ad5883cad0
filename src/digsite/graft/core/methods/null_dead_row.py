"""Null: the receiver's own untrained row for the new class; only calibration makes it speak."""

from torch import nn

from digsite.config import Config
from digsite.graft.core.edits import edited, with_outputs
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    """Nothing to choose."""


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    return Message({})


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    return edited(with_outputs(receiver.model, receiver.head, receiver.new))
