"""Linear readers fitted on labels: the new class told from the receiver's features, or from the donor's and rotated over."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.core.edits import Beside, set_rows
from digsite.graft.core.fitting import LabelledSettings, LearnsFromLabels, fit_probe
from digsite.graft.core.maps import fit_rotation
from digsite.graft.core.methods import GraftMethod
from digsite.graft.core.methods.transplants import send_head_rows
from digsite.graft.core.nets import find_head
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import fit_rows


class Probe(LearnsFromLabels, GraftMethod):
    """No donor: the new logit read linearly from the receiver, fitted on labelled images of the new class."""

    DONORLESS = True

    class Settings(LabelledSettings):
        layers: Literal["all", "last"] = Field("all", description="layers of the receiver that are read")
        decay: float = Field(1e-3, ge=0, description="penalty on the squared row")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """A reader of all layers beside the receiver, or a row in its head."""
        every = self.settings.layers == "all"
        fit = fit_probe(self.settings, receiver, every_layer=every, decay=self.settings.decay)
        if every:
            return Beside(receiver.model, receiver.head, receiver.new, fit.to_layer())
        return set_rows(receiver.model, receiver.head, receiver.new, fit.weight, fit.bias)


class ProbeAll(Probe):
    """No donor: the new logit read linearly from every layer, fitted on labelled images of the new class."""

    PRESET = "layers=all"
    GROUP = "honest"
    STUDIED = ("k=1", "k=5", "k=20")


class ProbeLast(Probe):
    """No donor: a head row fitted on labelled images of the new class; with all of them, the last layer's ceiling."""

    PRESET = "layers=last"
    GROUP = "honest"
    STUDIED = ("k=1", "k=5", "k=20", "k=0")


class ProcrustesProbe(GraftMethod):
    """A probe for the new class rotated into the receiver's features (legacy method 2, the "paper" one)."""

    SAME_SHAPE = True
    GROUP = "surgery"
    STUDIED = ("", "as_published=true")

    class Settings(Config):
        strength: float = Field(
            0.8, ge=0, description="how much of the probe is added to the most opposed head rows"
        )
        n_opposed: int = Field(2, ge=0, description="head rows that it is added to")
        share: float = Field(0.7, ge=0, le=1, description="the donor's row against the probe in the new row")
        as_published: bool = Field(
            False, description="apply the rotation transposed and copy the donor's row unrotated"
        )

    def declare_budget(self) -> str:
        """Shared images for the rotation, the donor's own for the probe."""
        return "sb"

    def take_message(self, donor: Side) -> Message:
        """The probe and the head row of the donor, and its features of the shared images."""
        classes = (*donor.pair.shared, *donor.pair.foreign, *donor.new)
        own = donor.access.open_donor(classes, 6000)
        seen = donor.collect_acts(own)
        flat = torch.zeros_like(seen.logits)  # a probe: new against the rest, beside constant logits
        probe = fit_rows(seen.last, flat, own.y, donor.new)
        shared = donor.collect_acts(donor.access.open_shared(2000)).last
        return Message({**send_head_rows(donor).tensors, "probe": probe.weight, "shared": shared})

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """A head row blended of donor's row and probe, both rotated, and the probe added to the rows against it."""
        t, options = message.tensors, self.settings
        receiver_acts = receiver.collect_acts(receiver.access.open_shared(2000)).last
        turn = fit_rotation(t["shared"], receiver_acts, centered=False).weight  # receiver = turn @ donor
        turn = turn.T if options.as_published else turn
        probe = t["probe"] @ turn.T
        probe = probe / probe.norm(dim=1, keepdim=True).clamp_min(1e-12)
        row = t["head/weight"] if options.as_published else t["head/weight"] @ turn.T
        own = find_head(receiver.model, receiver.head).weight.detach()
        padded = own[[min(c, len(own) - 1) for c in receiver.new]]
        blend = options.share * row + (1 - options.share) * (padded + 1.2 * probe)
        model = set_rows(receiver.model, receiver.head, receiver.new, blend, t["head/bias"])
        return _add_to_opposed(model, receiver, options.strength * probe.mean(0), options.n_opposed)


@torch.no_grad()
def _add_to_opposed(
    model: nn.Module, receiver: Side, added: Float[Tensor, "width"], n_opposed: int
) -> nn.Module:
    """`added` onto the `n_opposed` old head rows that point most against it; the new rows are left out."""
    last = find_head(model, receiver.head)
    against = (last.weight @ added).clone()
    against[receiver.new] = float("inf")
    opposed = against.topk(min(n_opposed, len(against)), largest=False).indices
    last.weight[opposed] += added
    return model
