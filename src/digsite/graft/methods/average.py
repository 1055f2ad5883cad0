"""All weights of both networks averaged, as they are."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.edits import edited
from digsite.graft.merging import mixed
from digsite.graft.operate import weights_of
from digsite.graft.pair import Message, Side

SAME_SHAPE = True


class Options(Config):
    share: float = Field(0.5, ge=0, le=1, description="the donor's share")


def budget(options: Options) -> str:
    return "w"


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    model = edited(receiver.model)
    theirs = dict(zip(model.state_dict(), message.tensors.values()))  # same shapes, the names may differ
    model.load_state_dict(mixed(dict(model.state_dict()), theirs, options.share))
    return model
