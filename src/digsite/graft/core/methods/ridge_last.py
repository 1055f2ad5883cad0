"""The donor's row carried over by a ridge map between the two penultimate layers."""

from torch import nn

from digsite.config import Field
from digsite.graft.core.edits import set_rows
from digsite.graft.core.fitting import (
    LETTERS,
    Fitting,
    budget,
    donor_acts,
    fitting_images,
    message,
    regressed,
)
from digsite.graft.core.operate import rebuilt
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.rows import rows_of

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Fitting):
    data: str = Field("s", pattern=LETTERS, description="images of the fit, in budget letters")
    strength: float = Field(1e-3, gt=0, description="ridge, relative to the mean squared feature")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    images = fitting_images(options, receiver)
    carry = regressed(receiver, images, donor_acts(receiver, sent, images).last, options.strength, -1)
    top = rows_of(rebuilt(receiver, sent), receiver.pair.heads()[1], receiver.new)
    return set_rows(receiver.model, receiver.head, receiver.new, *carry.then_rows(*top))
