"""What both fine-tunings changed, summed onto their common start."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.edits import edited
from digsite.graft.merging import task_sum
from digsite.graft.operate import common_start, weights_of
from digsite.graft.pair import Message, Side

SAME_SHAPE = True
NEEDS_START = True


class Options(Config):
    scale: float = Field(0.3, gt=0, description="factor on the summed changes")


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    start = dict(common_start(receiver).state_dict())
    model = edited(receiver.model)
    tuned = [dict(model.state_dict()), dict(zip(start, message.tensors.values()))]
    model.load_state_dict(task_sum(start, tuned, options.scale))
    return model
