"""The nine framework ideas share this: the donor's rows read through a code that both networks write."""

import torch
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.access import Images
from digsite.graft.augment import widened
from digsite.graft.nets import acts
from digsite.graft.operate import rebuilt, weights_of
from digsite.graft.pair import Message, Side
from digsite.graft.shared_codes import CodeReader, donor_rows, fit_shared_codes


class Fitting(Config):
    """Options of a method that fits one dictionary on images of its budget."""

    data: str = Field("au", pattern="^[sau]+$", description="images of the fit, in budget letters")
    n_images: int = Field(3000, gt=0, description="at most so many images of each kind")
    n_widened: int = Field(0, ge=0, description="more images, bent, cut and pieced together from those")


def budget(options: Fitting) -> str:
    """What such a method may touch: the images that it fits on."""
    return options.data


def message(options: Fitting, donor: Side) -> Message:
    """What such a method takes from the donor: its weights."""
    return weights_of(donor)


def fitting_images(receiver: Side, letters: str, n_images: int, n_widened: int) -> Images:
    """The budget's images and, if wanted, more made from them."""
    images = receiver.access.mixed(letters, n_images)
    if not n_widened:
        return images
    extra: Tensor = widened(images.x, n_widened, receiver.generator("widened"))
    unknown = torch.full((n_widened,), -1, dtype=images.y.dtype)
    return Images(torch.cat([images.x, extra]), torch.cat([images.y, unknown]), f"{images.key}*{n_widened}")


def through_codes(
    receiver: Side, message: Message, images: Images, *, width: int, sparsity: float,
    levels: tuple[int, ...] = (), companions: list[nn.Module] | None = None, steps: int = 250,
) -> nn.Module:  # fmt: skip
    """A joint dictionary of receiver, donor and companions; the receiver's code decoded as the donor's features."""
    donor, name = rebuilt(receiver, message), receiver.pair.heads()[1]
    features = [
        receiver.access.lens.acts(receiver.model, images).everything,
        acts(donor, images.x, name).last,
    ]
    features += [acts(net, images.x).everything for net in companions or []]
    draw = receiver.generator("codes", width)
    shared = fit_shared_codes(features, width, sparsity, draw, levels=levels, steps=steps)
    row, bias = donor_rows(donor, name, receiver.new)
    return CodeReader(receiver, shared, 0, row, bias, 1)
