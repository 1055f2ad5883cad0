"""No donor: the new logit read linearly from every layer, fitted on labelled images of the new class."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.edits import ReadAll
from digsite.graft.methods.probe_last import examples, set_width
from digsite.graft.pair import Message, Side
from digsite.graft.tune import fit_rows

SAME_SHAPE = False


class Options(Config):
    k: int = Field(20, ge=0, description="labelled images per new class; 0 for all of them")
    n_old: int = Field(2000, gt=0, description="old-class images beside them")
    decay: float = Field(1e-3, ge=0, description="penalty on the squared row")


def budget(options: Options) -> str:
    return f"ak{options.k}" if options.k else "aF"


def message(options: Options, donor: Side) -> Message:
    return Message({})


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    images = examples(receiver, options.n_old)
    seen = receiver.access.lens.acts(receiver.model, images)
    wide = set_width(seen.logits, receiver.new)
    fit = fit_rows(seen.everything, wide, images.y, receiver.new, decay=options.decay)
    return ReadAll(receiver.model, receiver.head, receiver.new, fit.weight, fit.bias)
