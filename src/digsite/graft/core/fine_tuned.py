"""What merges of two fine-tunings of one common start share."""

from collections.abc import Callable
from typing import Any

from torch import nn

from digsite.graft.core.edits import edited
from digsite.graft.core.merging import State
from digsite.graft.core.operate import whole_donor as message
from digsite.graft.core.pair import Message, Side

__all__ = ["NEEDS_START", "SAME_SHAPE", "budget", "merged", "message"]
SAME_SHAPE = True
NEEDS_START = True


def budget(options: Any) -> str:
    return "w"


def merged(receiver: Side, message: Message, rule: Callable[[State, list[State]], State]) -> nn.Module:
    """The receiver with the weights that `rule` makes of the start and both fine-tunings of it."""
    assert receiver.pair.start is not None, "no pair without a start is let through"
    start = dict(receiver.pair.start.state_dict())
    model = edited(receiver.model)
    model.load_state_dict(rule(start, [dict(model.state_dict()), dict(zip(start, message.tensors.values()))]))
    return model
