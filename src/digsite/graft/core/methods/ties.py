"""TIES: both changes trimmed, one sign elected per weight, those that agree averaged onto the common start."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.core.fine_tuned import NEEDS_START, SAME_SHAPE, budget, merged, message
from digsite.graft.core.merging import ties
from digsite.graft.core.pair import Message, Side

__all__ = ["NEEDS_START", "SAME_SHAPE", "Options", "apply", "budget", "message"]


class Options(Config):
    keep: float = Field(0.2, gt=0, le=1, description="share of each change that is kept")
    scale: float = Field(1.0, gt=0, description="factor on the merged change")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    return merged(receiver, sent, lambda start, tuned: ties(start, tuned, options.keep, options.scale))
