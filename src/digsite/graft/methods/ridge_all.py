"""The donor's new logit predicted by ridge regression from every layer of the receiver."""

import torch
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.access import Images
from digsite.graft.augment import widened
from digsite.graft.edits import ReadAll
from digsite.graft.maps import ridge
from digsite.graft.methods.union import Rule, new_logits
from digsite.graft.nets import predict
from digsite.graft.operate import rebuilt, weights_of
from digsite.graft.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    data: str = Field(
        "s", pattern="^[sau]+$", description="images that the map is fitted on, in budget letters"
    )
    n_images: int = Field(4000, gt=0, description="at most so many images of each kind")
    n_widened: int = Field(0, ge=0, description="more images, bent, cut and pieced together from those")
    strength: float = Field(3e-3, gt=0, description="ridge, relative to the mean squared feature")
    rule: Rule = Field("logit", description="which new logit is predicted, as in union")


def budget(options: Options) -> str:
    return options.data


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    images = receiver.access.mixed(options.data, options.n_images)
    if options.n_widened:
        images = _wider(images, options.n_widened, receiver)
    mine = receiver.access.lens.acts(receiver.model, images)
    theirs = predict(rebuilt(receiver, message), images.x)
    read = ridge(
        mine.everything, new_logits(mine.logits, theirs, receiver.pair, options.rule), options.strength
    )
    return ReadAll(receiver.model, receiver.head, receiver.new, read.weight, read.bias)


def _wider(images: Images, n: int, side: Side) -> Images:
    extra: Tensor = widened(images.x, n, side.generator("widened"))
    y = torch.full((n,), -1, dtype=images.y.dtype)
    return Images(torch.cat([images.x, extra]), torch.cat([images.y, y]), f"{images.key}*{n}")
