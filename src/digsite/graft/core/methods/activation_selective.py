"""Rows whose mean activation on the new class exceeds that on the donor's other classes (legacy method 6)."""

from torch import nn

from digsite.config import Config, Field
from digsite.graft.core import rows
from digsite.graft.core.nets import layers
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = True


class Options(Config):
    n_top: int = Field(20, gt=0, description="penultimate rows; twice as many in each layer further down")
    n_images: int = Field(
        500, gt=0, description="donor images of the new class, and as many of its other classes"
    )


def budget(options: Options) -> str:
    return "b"


def message(options: Options, donor: Side) -> Message:
    pair, n = donor.pair, options.n_images
    new = donor.access.donor(pair.new, n)
    rest = donor.access.donor((*pair.shared, *pair.foreign), n)
    high, low = donor.acts(new).hidden, donor.acts(rest).hidden
    widths = [len(m.weight) for m in layers(donor.model).values()][:-1]
    picks = {}
    for layer, (on, off) in enumerate(zip(high, low)):
        gap = (on.mean(0) - off.mean(0)).reshape(widths[layer], -1).mean(1)
        count = options.n_top * 2 ** (len(widths) - 1 - layer)
        picks[layer] = gap.topk(min(count, len(gap))).indices
    return rows.transplant(donor, picks)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    return rows.implant(receiver, message)
