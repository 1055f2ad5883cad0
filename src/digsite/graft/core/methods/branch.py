"""A branch off one layer of the receiver: a ridge map into the donor's layer, and the rest of the donor behind it."""

from torch import nn

from digsite.base.errors import UsageError
from digsite.config import Field
from digsite.graft.core.edits import Beside
from digsite.graft.core.fitting import (
    LETTERS,
    Fitting,
    budget,
    donor_acts,
    fitting_images,
    message,
    regressed,
)
from digsite.graft.core.nets import is_plain, matrices, plain_net
from digsite.graft.core.operate import rebuilt
from digsite.graft.core.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Fitting):
    layer: int = Field(1, gt=0, description="hidden layer of both networks at which they are joined, from 1")
    data: str = Field("s", pattern=LETTERS, description="images of the fit, in budget letters")
    strength: float = Field(1e-3, gt=0, description="ridge, relative to the mean squared feature")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    donor, at = rebuilt(receiver, sent), options.layer - 1
    if not is_plain(donor):
        raise UsageError(
            "'branch' needs a donor that is a plain ReLU network.", hint="Use ridge_all or distill."
        )
    images = fitting_images(options, receiver)
    mine, theirs = receiver.acts(images).hidden, donor_acts(receiver, sent, images).hidden
    for role, hidden in (("donor", theirs), ("receiver", mine)):
        if options.layer > len(hidden):
            raise UsageError(
                f"The {role} has {len(hidden)} hidden layers, there is no layer {options.layer}."
            )
    carry = regressed(receiver, images, theirs[at], options.strength, at)
    weights, biases = matrices(donor)
    # ReLU after the map costs nothing true: the donor's layer is never negative
    tail = plain_net(
        [carry.weight, *weights[at + 1 : -1], weights[-1][receiver.new]],
        [carry.bias, *biases[at + 1 : -1], biases[-1][receiver.new]],
    )
    return Beside(receiver.model, receiver.head, receiver.new, tail, at)
