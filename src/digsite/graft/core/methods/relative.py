"""Relative representations: both networks described by cosines to the same anchor images, and a row in those terms."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.config import Config, Field
from digsite.graft.core.edits import Beside
from digsite.graft.core.nets import acts
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import fit_rows

SAME_SHAPE = False


class Options(Config):
    data: str = Field("s", pattern="^[su]$", description="where the anchors are from, in budget letters")
    n_anchors: int = Field(300, gt=0, description="anchor images")
    n_images: int = Field(500, gt=0, description="donor images per class for its row in anchor terms")


def budget(options: Options) -> str:
    return f"{options.data}b"


class ToAnchors(nn.Module):
    """Cosines to the anchors, then a linear read-out."""

    anchors: Tensor
    center: Tensor

    def __init__(self, anchors: Tensor, center: Tensor, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("center", center)
        self.register_buffer("anchors", F.normalize(anchors - center, dim=1))
        self.read = nn.Linear(weight.shape[1], weight.shape[0])
        self.read.weight.data, self.read.bias.data = weight, bias

    def describe(self, h: Tensor) -> Tensor:
        return F.normalize(h - self.center, dim=1) @ self.anchors.T

    def forward(self, h: Tensor) -> Tensor:
        return self.read(self.describe(h))


def message(options: Options, donor: Side) -> Message:
    """A row that separates the new class in anchor terms, fitted by the donor on its own images."""
    classes = [*donor.pair.shared, *donor.pair.foreign, *donor.new]
    parts = [donor.access.donor((c,), options.n_images) for c in classes]
    y = torch.cat([p.y for p in parts])
    anchors = donor.access.mixed(options.data, options.n_anchors)
    seen = acts(donor.model, torch.cat([p.x for p in parts]), donor.head)
    base = donor.acts(anchors).last
    width = base.shape[0]
    scale = ToAnchors(base, base.mean(0), torch.zeros(1, width), torch.zeros(1))
    fit = fit_rows(scale.describe(seen.last), seen.logits, y, donor.new)
    return Message({"weight": fit.weight, "bias": fit.bias})


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    anchors = receiver.access.mixed(options.data, options.n_anchors)
    mine = receiver.acts(anchors).last
    part = ToAnchors(mine, mine.mean(0), message.tensors["weight"], message.tensors["bias"])
    return Beside(receiver.model, receiver.head, receiver.new, part, -1)
