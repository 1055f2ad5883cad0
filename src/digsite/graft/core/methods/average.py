"""All weights of both networks averaged, as they are."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.core.edits import edited
from digsite.graft.core.merging import mixed
from digsite.graft.core.operate import whole_donor as message
from digsite.graft.core.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = True


class Options(Config):
    share: float = Field(0.5, ge=0, le=1, description="the donor's share")


def budget(options: Options) -> str:
    return "w"


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    model = edited(receiver.model)
    theirs = dict(zip(model.state_dict(), sent.tensors.values()))  # same shapes, the names may differ
    model.load_state_dict(mixed(dict(model.state_dict()), theirs, options.share))
    return model
