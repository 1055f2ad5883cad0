"""What methods without a donor share: labelled images of the new class beside the receiver's old ones."""

import torch

from digsite.config import Config, Field
from digsite.graft.core.access import Images
from digsite.graft.core.maps import Affine
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import fit_rows


class Labelled(Config):
    """Options of a method that learns from labels."""

    k: int = Field(20, ge=0, description="labelled images per new class; 0 for all of them")
    n_old: int = Field(2000, gt=0, description="old-class images beside them")


class Probe(Labelled):
    """Options of a linear probe."""

    decay: float = Field(1e-3, ge=0, description="penalty on the squared row")


def budget(options: Labelled) -> str:
    return f"ak{options.k}" if options.k else "aF"


def message(options: Labelled, donor: Side) -> Message:
    """No donor is asked."""
    return Message({})


def examples(options: Labelled, side: Side) -> Images:
    """Old images and the labelled new ones of the budget."""
    old, new = side.access.old(options.n_old), side.access.shots()
    return Images(torch.cat([old.x, new.x]), torch.cat([old.y, new.y]), f"{old.key}+{new.key}")


def probe(options: Probe, receiver: Side, *, everything: bool) -> Affine:
    """New rows on the last layer's features, or on those of every layer."""
    images = examples(options, receiver)
    seen = receiver.acts(images)
    h = seen.everything if everything else seen.last
    return fit_rows(h, seen.logits, images.y, receiver.new, decay=options.decay)
