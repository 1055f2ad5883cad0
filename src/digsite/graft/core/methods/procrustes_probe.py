"""A probe for the new class rotated into the receiver's features (legacy method 2, the "paper" one)."""

import torch
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.core import rows
from digsite.graft.core.edits import set_rows
from digsite.graft.core.maps import rotation
from digsite.graft.core.nets import head
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import fit_rows

SAME_SHAPE = True


class Options(Config):
    strength: float = Field(
        0.8, ge=0, description="how much of the probe is added to the most opposed head rows"
    )
    n_opposed: int = Field(2, ge=0, description="head rows that it is added to")
    share: float = Field(0.7, ge=0, le=1, description="the donor's row against the probe in the new row")
    as_published: bool = Field(
        False, description="apply the rotation transposed and copy the donor's row unrotated"
    )


def budget(options: Options) -> str:
    return "sb"


def message(options: Options, donor: Side) -> Message:
    """The probe and the head row of the donor, and its features of the shared images."""
    classes = (*donor.pair.shared, *donor.pair.foreign, *donor.new)
    own = donor.access.donor(classes, 6000)
    seen = donor.acts(own)
    flat = torch.zeros_like(seen.logits)  # a probe: new against the rest, beside constant logits
    probe = fit_rows(seen.last, flat, own.y, donor.new)
    shared = donor.acts(donor.access.shared(2000)).last
    return Message({**rows.head_rows(donor).tensors, "probe": probe.weight, "shared": shared})


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    t = message.tensors
    mine = receiver.acts(receiver.access.shared(2000)).last
    turn = rotation(t["shared"], mine, centered=False).weight  # receiver = turn @ donor
    turn = turn.T if options.as_published else turn
    probe = _unit(t["probe"] @ turn.T)
    row = t["head/weight"] if options.as_published else t["head/weight"] @ turn.T
    own = head(receiver.model, receiver.head).weight.detach()
    padded = own[[min(c, len(own) - 1) for c in receiver.new]]
    blend = options.share * row + (1 - options.share) * (padded + 1.2 * probe)
    model = set_rows(receiver.model, receiver.head, receiver.new, blend, t["head/bias"])
    return _with_opposed(model, receiver, probe, options)


@torch.no_grad()
def _with_opposed(model: nn.Module, receiver: Side, probe: Tensor, options: Options) -> nn.Module:
    last = head(model, receiver.head)
    against = (last.weight @ probe.mean(0)).clone()
    against[receiver.new] = float("inf")
    opposed = against.topk(min(options.n_opposed, len(against)), largest=False).indices
    last.weight[opposed] += options.strength * probe.mean(0)
    return model


def _unit(v: Tensor) -> Tensor:
    return v / v.norm(dim=1, keepdim=True).clamp_min(1e-12)
