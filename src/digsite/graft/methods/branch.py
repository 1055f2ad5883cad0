"""A branch off one layer of the receiver: a ridge map into the donor's layer, and the rest of the donor behind it."""

import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.config import Config, Field
from digsite.graft.augment import widened
from digsite.graft.edits import Beside
from digsite.graft.maps import ridge
from digsite.graft.nets import acts, is_plain, matrices, plain_net
from digsite.graft.operate import rebuilt, weights_of
from digsite.graft.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    layer: int = Field(1, gt=0, description="hidden layer of both networks at which they are joined, from 1")
    data: str = Field(
        "s", pattern="^[sau]+$", description="images that the map is fitted on, in budget letters"
    )
    n_images: int = Field(4000, gt=0, description="at most so many images of each kind")
    n_widened: int = Field(0, ge=0, description="more images, bent, cut and pieced together from those")
    strength: float = Field(1e-3, gt=0, description="ridge, relative to the mean squared feature")


def budget(options: Options) -> str:
    return options.data


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    donor = rebuilt(receiver, message)
    weights, biases = matrices(donor)
    if not is_plain(donor):
        raise UsageError(
            "'branch' needs a donor that is a plain ReLU network.", hint="Use ridge_all or distill."
        )
    if options.layer > len(weights) - 1:
        raise UsageError(
            f"The donor has {len(weights) - 1} hidden layers, there is no layer {options.layer}."
        )
    x = receiver.access.mixed(options.data, options.n_images).x
    if options.n_widened:
        x = torch.cat([x, widened(x, options.n_widened, receiver.generator("widened"))])
    at = options.layer - 1
    mine, theirs = acts(receiver.model, x, receiver.head).hidden, acts(donor, x).hidden
    if at >= len(mine):
        raise UsageError(f"The receiver has {len(mine)} hidden layers, there is no layer {options.layer}.")
    carry = ridge(mine[at], theirs[at], options.strength)
    # ReLU after the map costs nothing true: the donor's layer is never negative
    tail = plain_net(
        [carry.weight, *weights[at + 1 : -1], weights[-1][receiver.new]],
        [carry.bias, *biases[at + 1 : -1], biases[-1][receiver.new]],
    )
    return Beside(receiver.model, receiver.head, receiver.new, tail, at)
