"""TIES: both changes trimmed, one sign elected per weight, those that agree averaged onto the common start."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.edits import edited
from digsite.graft.merging import ties
from digsite.graft.operate import common_start, weights_of
from digsite.graft.pair import Message, Side

SAME_SHAPE = True
NEEDS_START = True


class Options(Config):
    keep: float = Field(0.2, gt=0, le=1, description="share of each change that is kept")
    scale: float = Field(1.0, gt=0, description="factor on the merged change")


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    start = dict(common_start(receiver).state_dict())
    model = edited(receiver.model)
    tuned = [dict(model.state_dict()), dict(zip(start, message.tensors.values()))]
    model.load_state_dict(ties(start, tuned, options.keep, options.scale))
    return model
