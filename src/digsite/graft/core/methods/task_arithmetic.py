"""What both fine-tunings changed, summed onto their common start."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.core.fine_tuned import NEEDS_START, SAME_SHAPE, budget, merged, message
from digsite.graft.core.merging import task_sum
from digsite.graft.core.pair import Message, Side

__all__ = ["NEEDS_START", "SAME_SHAPE", "Options", "apply", "budget", "message"]


class Options(Config):
    scale: float = Field(0.3, gt=0, description="factor on the summed changes")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    return merged(receiver, sent, lambda start, tuned: task_sum(start, tuned, options.scale))
