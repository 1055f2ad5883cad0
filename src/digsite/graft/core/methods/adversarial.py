"""The map fitted again on images bent against it, so that small changes of the input do not undo it (framework 7)."""

import torch
from torch import Tensor, nn

from digsite.config import Field
from digsite.graft.core.edits import Beside
from digsite.graft.core.fitting import Fitting, budget, donor_acts, fitting_images, message, regressed
from digsite.graft.core.maps import Affine, ridge
from digsite.graft.core.nets import acts, predict, record
from digsite.graft.core.operate import rebuilt
from digsite.graft.core.pair import Message, Side

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Fitting):
    n_images: int = Field(2000, gt=0, description="at most so many images of each kind")
    epsilon: float = Field(0.1, gt=0, description="largest change of a pixel, in units of the whole range")
    rounds: int = Field(2, gt=0, description="times the images are bent and the map is fitted again")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    images = fitting_images(options, receiver)
    donor, frame = rebuilt(receiver, sent), receiver.access.frame
    step = options.epsilon * (frame.high - frame.low)
    h = [receiver.acts(images).everything]
    y = [donor_acts(receiver, sent, images).logits[:, receiver.new]]
    read = regressed(receiver, images, y[0], 3e-3)
    for _ in range(options.rounds):
        bent = attack(receiver, read, donor, images.x, step).clamp(frame.low, frame.high)
        h.append(acts(receiver.model, bent, receiver.head).everything)
        y.append(predict(donor, bent)[:, receiver.new])
        read = ridge(torch.cat(h), torch.cat(y), 3e-3)
    return Beside(receiver.model, receiver.head, receiver.new, read.layer())


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
