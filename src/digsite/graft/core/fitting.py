"""What ways to graft share that fit something on images: their settings, the images, what the donor makes of them."""

from typing import Any

import torch
from torch import Tensor

from digsite.config import Config, Field
from digsite.graft.core.access import LabelledImages
from digsite.graft.core.images import widen_images
from digsite.graft.core.maps import Affine, Design
from digsite.graft.core.nets import Acts
from digsite.graft.core.operate import rebuild_donor, send_whole_donor
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import fit_rows

LETTERS = "^[sau]+$"


class FittingSettings(Config):
    """Settings of a method that fits on images without labels of the new class."""

    data: str = Field("au", pattern=LETTERS, description="images of the fit, in budget letters")
    n_images: int = Field(4000, gt=0, description="at most so many images of each kind")
    n_widened: int = Field(0, ge=0, description="more images, bent, cut and pieced together from those")


class LabelledSettings(Config):
    """Settings of a method that learns the new class from labels, with no donor."""

    k: int = Field(20, ge=0, description="labelled images per new class; 0 for all of them")
    n_old: int = Field(2000, gt=0, description="old-class images beside them")


class FitsOnImages:
    """The part of a method that fits on images of its budget: it takes all of the donor and reads the letters of `data`."""

    settings: Any

    def declare_budget(self) -> str:
        """The letters of the images that it fits on."""
        return self.settings.data

    def take_message(self, donor: Side) -> Message:
        """All weights of the donor: what it makes of an image is worked out on the receiver's side."""
        return send_whole_donor(donor)


class LearnsFromLabels:
    """The part of a method that has no donor: labelled images of the new class beside the receiver's old ones."""

    settings: Any

    def declare_budget(self) -> str:
        """`k` labelled images of every new class, or all of them."""
        return f"ak{self.settings.k}" if self.settings.k else "aF"

    def take_message(self, donor: Side) -> Message:
        """Nothing: no donor is asked."""
        return Message({})


def gather_images(settings: FittingSettings, receiver: Side) -> LabelledImages:
    """The images that a fit may see: those of the budget and, if wanted, `n_widened` more made from them.

    Made images have no label (-1). They are made once for all who ask for as many: the key holds what decides them.
    """
    images, n = receiver.access.open_mixed(settings.data, settings.n_images), settings.n_widened
    if not n:
        return images

    def widen_once() -> LabelledImages:
        x = torch.cat([images.x, widen_images(images.x, n, receiver.make_generator("widened"))])
        y = torch.cat([images.y, images.y.new_full((n,), -1)])
        return LabelledImages(x, y, f"{images.key}*{n}")

    return receiver.access.lens.compute_once(
        receiver.model, ("widened", images.key, n, receiver.seed), widen_once
    )


def collect_donor_acts(receiver: Side, message: Message, images: LabelledImages) -> Acts:
    """What flows through the donor that crossed in `message`, for these images; kept by the lens for all who ask."""
    donor_head = receiver.pair.name_heads()[1]
    return receiver.access.lens.collect_acts(rebuild_donor(receiver, message), images, donor_head)


def regress_layer(
    receiver: Side, images: LabelledImages, y: Tensor, strength: float, layer: int | None = None
) -> Affine:
    """Ridge regression of targets `y` (n, targets) on one hidden `layer` of the receiver, or on all of them at once.

    The features are factored once for all who ask: many methods of one couple fit on the same images, and the factor does
    not depend on what is predicted.
    """

    def factor_once() -> Design:
        seen = receiver.collect_acts(images)
        return Design.of_features(seen.everything if layer is None else seen.hidden[layer], strength)

    key = ("design", images.key, strength, layer)
    return receiver.access.lens.compute_once(receiver.model, key, factor_once).regress_onto(y)


def gather_examples(settings: LabelledSettings, side: Side) -> LabelledImages:
    """`n_old` old images and after them the labelled new ones that the budget allows."""
    old, new = side.access.open_old(settings.n_old), side.access.open_shots()
    return LabelledImages(torch.cat([old.x, new.x]), torch.cat([old.y, new.y]), f"{old.key}+{new.key}")


def fit_probe(
    settings: LabelledSettings, receiver: Side, *, every_layer: bool, decay: float = 1e-3
) -> Affine:
    """New head rows by cross-entropy on labelled images: read from the last layer alone, or from `every_layer`.

    `decay` weighs the squared row.
    """
    images = gather_examples(settings, receiver)
    seen = receiver.collect_acts(images)
    features = seen.everything if every_layer else seen.last
    return fit_rows(features, seen.logits, images.y, receiver.new, decay=decay)
