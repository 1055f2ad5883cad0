"""No donor: the new logit read linearly from every layer, fitted on labelled images of the new class."""

from torch import nn

from digsite.graft.core.edits import Beside
from digsite.graft.core.labelled import Probe as Options
from digsite.graft.core.labelled import budget, message, probe
from digsite.graft.core.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    fit = probe(options, receiver, everything=True)
    return Beside(receiver.model, receiver.head, receiver.new, fit.layer())
