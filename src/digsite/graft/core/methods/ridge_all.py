"""The donor's new logit predicted by ridge regression from every layer of the receiver."""

from torch import nn

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
from digsite.graft.core.methods.union import Rule, new_logits
from digsite.graft.core.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Fitting):
    data: str = Field("s", pattern=LETTERS, description="images of the fit, in budget letters")
    strength: float = Field(3e-3, gt=0, description="ridge, relative to the mean squared feature")
    rule: Rule = Field("logit", description="which new logit is predicted, as in union")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    images = fitting_images(options, receiver)
    mine, theirs = receiver.acts(images), donor_acts(receiver, sent, images)
    target = new_logits(mine.logits, theirs.logits, receiver.pair, options.rule)
    read = regressed(receiver, images, target, options.strength)
    return Beside(receiver.model, receiver.head, receiver.new, read.layer())
