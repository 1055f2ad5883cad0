"""The nine framework ideas share this: the donor's rows read through a code that both networks write."""

import torch
from torch import Tensor, nn

from digsite.graft.access import Images
from digsite.graft.augment import widened
from digsite.graft.nets import acts
from digsite.graft.operate import rebuilt
from digsite.graft.pair import Message, Side
from digsite.graft.shared_codes import CodeReader, donor_rows, fit_shared_codes


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
