"""Null: a random head row of the donor row's length."""

import torch
from torch import nn

from digsite.config import Config
from digsite.graft.core import rows
from digsite.graft.core.edits import set_rows
from digsite.graft.core.nets import head
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    """Nothing to choose."""


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    """Only the length of the row and its bias cross."""
    top = rows.head_rows(donor).tensors
    return Message({"norm": top["head/weight"].norm(dim=1), "bias": top["head/bias"]})


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    width = head(receiver.model, receiver.head).in_features
    row = torch.randn(len(receiver.new), width, generator=receiver.generator("random-row"))
    row *= message.tensors["norm"][:, None].abs() / row.norm(dim=1, keepdim=True)
    return set_rows(receiver.model, receiver.head, receiver.new, row, message.tensors["bias"])
