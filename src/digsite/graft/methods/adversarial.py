"""The map fitted again on images bent against it, so that small changes of the input do not undo it (framework 7)."""

import torch
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.code_transport import fitting_images
from digsite.graft.edits import ReadAll
from digsite.graft.maps import Affine, ridge
from digsite.graft.nets import acts, predict, record
from digsite.graft.operate import rebuilt, weights_of
from digsite.graft.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    epsilon: float = Field(0.1, gt=0, description="largest change of a pixel, in units of the whole range")
    rounds: int = Field(2, gt=0, description="times the images are bent and the map is fitted again")
    data: str = Field(
        "au", pattern="^[sau]+$", description="images that the map is fitted on, in budget letters"
    )
    n_images: int = Field(2000, gt=0, description="at most so many images of each kind")


def budget(options: Options) -> str:
    return options.data


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    images = fitting_images(receiver, options.data, options.n_images, 0)
    donor, frame = rebuilt(receiver, message), receiver.access.frame
    step = options.epsilon * (frame.high - frame.low)
    h = [receiver.access.lens.acts(receiver.model, images).everything]
    y = [predict(donor, images.x)[:, receiver.new]]
    read = ridge(h[0], y[0], 3e-3)
    for _ in range(options.rounds):
        bent = attack(receiver, read, donor, images.x, step).clamp(frame.low, frame.high)
        h.append(acts(receiver.model, bent, receiver.head).everything)
        y.append(predict(donor, bent)[:, receiver.new])
        read = ridge(torch.cat(h), torch.cat(y), 3e-3)
    return ReadAll(receiver.model, receiver.head, receiver.new, read.weight, read.bias)


def attack(
    receiver: Side, read: Affine, donor: nn.Module, x: Tensor, step: float, batch: int = 500
) -> Tensor:
    """One signed gradient step per image away from agreement with the donor."""
    out = []
    for chunk in x.split(batch):
        at = chunk.clone().requires_grad_()
        with torch.enable_grad():
            mine = read(record(receiver.model, at, receiver.head).everything)
            gap = (mine - donor(at)[:, receiver.new]).square().sum()
            (slope,) = torch.autograd.grad(gap, at)
        out.append(chunk + step * slope.sign())
    return torch.cat(out)
