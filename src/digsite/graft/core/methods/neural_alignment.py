"""A learned map from the receiver's features into the donor's, read by the donor's own row (framework method 2)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.config import Field
from digsite.graft.core.edits import Beside
from digsite.graft.core.fitting import Fitting, budget, donor_acts, fitting_images, message
from digsite.graft.core.injection import perceptron
from digsite.graft.core.maps import Affine, rotation
from digsite.graft.core.operate import rebuilt
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.rows import rows_of
from digsite.graft.core.tune import one_cycle

__all__ = ["SAME_SHAPE", "Options", "apply", "budget", "message"]
SAME_SHAPE = False


class Options(Fitting):
    map: Literal["linear", "mlp", "orthogonal"] = Field(
        "linear", description="what is learned between the features"
    )
    layers: Literal["all", "last"] = Field("all", description="receiver features that are read")
    steps: int = Field(400, gt=0, description="gradient steps; none for orthogonal")


def apply(options: Options, receiver: Side, sent: Message) -> nn.Module:
    images, last = fitting_images(options, receiver), options.layers == "last"
    seen, theirs = receiver.acts(images), donor_acts(receiver, sent, images).last
    draw = receiver.generator("map")
    carry = learn(options.map, seen.last if last else seen.everything, theirs, options.steps, draw)
    read = Affine(*rows_of(rebuilt(receiver, sent), receiver.pair.heads()[1], receiver.new)).layer()
    part = nn.Sequential(carry, read)
    return Beside(receiver.model, receiver.head, receiver.new, part, -1 if last else None)


def learn(kind: str, mine: Tensor, theirs: Tensor, steps: int, draw: torch.Generator) -> nn.Module:
    """Mean squared error with a small weight decay, as the framework has it; the rotation in closed form."""
    if kind == "orthogonal":
        return rotation(mine, theirs).layer()
    center, scale = mine.mean(0), mine.std(0) + 0.1 * mine.std()
    sizes = (mine.shape[1], 128, 128, theirs.shape[1]) if kind == "mlp" else (mine.shape[1], theirs.shape[1])
    net = perceptron(*sizes, draw=draw)
    solver = torch.optim.Adam(net.parameters(), 2e-3, weight_decay=1e-5, fused=True)
    cycle = one_cycle(solver, 2e-3, steps)
    z = (mine - center) / scale
    with torch.enable_grad():
        for _ in range(steps):
            pick = torch.randint(len(z), (128,), generator=draw)
            solver.zero_grad(set_to_none=True)
            F.mse_loss(net(z[pick]), theirs[pick]).backward()
            solver.step()
            cycle.step()
    first = net[0]
    assert isinstance(first, nn.Linear), first
    with torch.no_grad():  # it reads features as they are
        first.weight.div_(scale)
        first.bias.sub_(first.weight @ center)
    return net.requires_grad_(False)
