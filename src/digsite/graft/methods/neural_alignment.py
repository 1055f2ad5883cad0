"""A learned map from the receiver's features into the donor's, read by the donor's own row (framework method 2)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.config import Config, Field
from digsite.graft.code_transport import fitting_images
from digsite.graft.edits import with_outputs
from digsite.graft.injection import perceptron
from digsite.graft.maps import rotation
from digsite.graft.nets import Composite, acts, record
from digsite.graft.operate import rebuilt, weights_of
from digsite.graft.pair import Message, Side
from digsite.graft.shared_codes import donor_rows
from digsite.graft.tune import one_cycle

SAME_SHAPE = False


class Options(Config):
    map: Literal["linear", "mlp", "orthogonal"] = Field(
        "linear", description="what is learned between the features"
    )
    data: str = Field(
        "au", pattern="^[sau]+$", description="images that the map is fitted on, in budget letters"
    )
    n_images: int = Field(2000, gt=0, description="at most so many images of each kind")
    n_widened: int = Field(0, ge=0, description="more images, bent, cut and pieced together from those")
    layers: Literal["all", "last"] = Field("all", description="receiver features that are read")
    steps: int = Field(400, gt=0, description="gradient steps; none for orthogonal")


def budget(options: Options) -> str:
    return options.data


def message(options: Options, donor: Side) -> Message:
    return weights_of(donor)


class Mapped(Composite):
    def __init__(self, side: Side, carry: nn.Module, row: Tensor, bias: Tensor, everything: bool) -> None:
        super().__init__()
        self.base, self.name = with_outputs(side.model, side.head, side.new), side.head
        self.new, self.everything, self.carry = side.new, everything, carry
        self.read = nn.Linear(row.shape[1], len(row))
        self.read.weight.data, self.read.bias.data = row.clone(), bias.clone()

    def forward(self, x: Tensor) -> Tensor:
        seen = record(self.base, x, self.name)
        out = seen.logits.clone()
        out[:, self.new] = self.read(self.carry(seen.everything if self.everything else seen.last))
        return out


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    images = fitting_images(receiver, options.data, options.n_images, options.n_widened)
    donor, name = rebuilt(receiver, message), receiver.pair.heads()[1]
    theirs = acts(donor, images.x, name).last
    seen = receiver.access.lens.acts(receiver.model, images)
    mine = seen.everything if options.layers == "all" else seen.last
    carry = learn(options.map, mine, theirs, options.steps, receiver.generator("map"))
    row, bias = donor_rows(donor, name, receiver.new)
    return Mapped(receiver, carry, row, bias, options.layers == "all")


def learn(kind: str, mine: Tensor, theirs: Tensor, steps: int, draw: torch.Generator) -> nn.Module:
    """Mean squared error with a small weight decay, as the framework has it; the rotation in closed form."""
    if kind == "orthogonal":
        turn = rotation(mine, theirs)
        return _linear(turn.weight, turn.bias)
    center, scale = mine.mean(0), mine.std(0) + 0.1 * mine.std()
    sizes = (mine.shape[1], 128, 128, theirs.shape[1]) if kind == "mlp" else (mine.shape[1], theirs.shape[1])
    net = perceptron(*sizes, draw=draw)
    solver = torch.optim.Adam(net.parameters(), 2e-3, weight_decay=1e-5)
    cycle = one_cycle(solver, 2e-3, steps)
    z = (mine - center) / scale
    with torch.enable_grad():
        for _ in range(steps):
            pick = torch.randint(len(z), (128,), generator=draw)
            solver.zero_grad(set_to_none=True)
            F.mse_loss(net(z[pick]), theirs[pick]).backward()
            solver.step()
            cycle.step()
    return nn.Sequential(_linear(torch.diag(1 / scale), -center / scale), net).requires_grad_(False)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    out = nn.Linear(weight.shape[1], weight.shape[0])
    out.weight.data, out.bias.data = weight.clone(), bias.clone()
    return out
