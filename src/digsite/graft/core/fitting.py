"""What methods share that fit something on images of their budget: options, the images, what the donor makes of them."""

import torch
from torch import Tensor

from digsite.config import Config, Field
from digsite.graft.core.access import Images
from digsite.graft.core.augment import widened
from digsite.graft.core.maps import Affine, Design
from digsite.graft.core.nets import Acts
from digsite.graft.core.operate import rebuilt, whole_donor
from digsite.graft.core.pair import Message, Side

LETTERS = "^[sau]+$"


class Fitting(Config):
    """Options of a method that fits on images of its budget."""

    data: str = Field("au", pattern=LETTERS, description="images of the fit, in budget letters")
    n_images: int = Field(4000, gt=0, description="at most so many images of each kind")
    n_widened: int = Field(0, ge=0, description="more images, bent, cut and pieced together from those")


def budget(options: Fitting) -> str:
    """What such a method may touch: the images that it fits on."""
    return options.data


def message(options: Fitting, donor: Side) -> Message:
    """What such a method takes from the donor: its weights."""
    return whole_donor(options, donor)


def fitting_images(options: Fitting, receiver: Side) -> Images:
    """The budget's images and, if wanted, more made from them."""
    images, n = receiver.access.mixed(options.data, options.n_images), options.n_widened
    if not n:
        return images

    def compute() -> Images:
        x = torch.cat([images.x, widened(images.x, n, receiver.generator("widened"))])
        y = torch.cat([images.y, images.y.new_full((n,), -1)])
        return Images(x, y, f"{images.key}*{n}")

    return receiver.access.lens.once(receiver.model, ("widened", images.key, n, receiver.seed), compute)


def donor_acts(receiver: Side, message: Message, images: Images) -> Acts:
    """What flows through the donor that crossed."""
    return receiver.access.lens.acts(rebuilt(receiver, message), images, receiver.pair.heads()[1])


def regressed(receiver: Side, images: Images, y: Tensor, strength: float, layer: int | None = None) -> Affine:
    """Ridge regression on one layer of the receiver, or on all; the features are factored once for all who ask."""

    def compute() -> Design:
        seen = receiver.acts(images)
        return Design.of(seen.everything if layer is None else seen.hidden[layer], strength)

    key = ("design", images.key, strength, layer)
    return receiver.access.lens.once(receiver.model, key, compute).onto(y)
