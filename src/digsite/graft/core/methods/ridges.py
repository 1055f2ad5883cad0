"""Closed-form readers: the donor's new logit, its layer or its classes predicted from the receiver's layers by ridge regression."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.config import Field
from digsite.graft.core.edits import Beside, read_head_rows, set_rows
from digsite.graft.core.fitting import (
    LETTERS,
    FitsOnImages,
    FittingSettings,
    collect_donor_acts,
    gather_images,
    regress_layer,
)
from digsite.graft.core.maps import Affine, fit_ridge
from digsite.graft.core.methods import GraftMethod
from digsite.graft.core.methods.union import Rule, combine_logits
from digsite.graft.core.nets import (
    collect_acts,
    is_plain,
    make_plain_net,
    predict_logits,
    read_matrices,
    record_acts,
)
from digsite.graft.core.operate import rebuild_donor
from digsite.graft.core.pair import Message, Side

STRENGTH = 3e-3  # ridge of readers of all layers, relative to the mean squared feature


class Ridge(FitsOnImages, GraftMethod):
    """What the donor says about the new class, predicted by ridge regression from the receiver's layers."""

    class Settings(FittingSettings):
        data: str = Field("s", pattern=LETTERS, description="images of the fit, in budget letters")
        layers: Literal["all", "last"] = Field(
            "all", description="read every layer and predict the new logit, or carry the donor's row over"
        )
        strength: float = Field(STRENGTH, gt=0, description="ridge, relative to the mean squared feature")
        rule: Rule = Field("logit", description="which new logit is predicted from all layers, as in union")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """A linear reader of all layers beside the receiver, or a new row in its head."""
        images = gather_images(self.settings, receiver)
        theirs, strength = collect_donor_acts(receiver, message, images), self.settings.strength
        if self.settings.layers == "last":
            carry = regress_layer(receiver, images, theirs.last, strength, -1)
            donor_head = receiver.pair.name_heads()[1]
            top = read_head_rows(rebuild_donor(receiver, message), donor_head, receiver.new)
            return set_rows(receiver.model, receiver.head, receiver.new, *carry.carry_rows(*top))
        receiver_acts = receiver.collect_acts(images)
        target = combine_logits(receiver_acts.logits, theirs.logits, receiver.pair, self.settings.rule)
        read = regress_layer(receiver, images, target, strength)
        return Beside(receiver.model, receiver.head, receiver.new, read.to_layer())


class RidgeAll(Ridge):
    """The donor's new logit predicted by ridge regression from every layer of the receiver."""

    PRESET = "layers=all"
    GROUP = "honest"
    STUDIED = (
        "data=s",
        "data=a",
        "data=u",
        "data=s n_widened=4000 rule=guarded",
        "data=au n_widened=6000 rule=guarded",
    )


class RidgeLast(Ridge):
    """The donor's row carried over by a ridge map between the two penultimate layers."""

    PRESET = "layers=last strength=0.001"
    GROUP = "honest"
    STUDIED = ("data=s", "data=au")


class Branch(FitsOnImages, GraftMethod):
    """A branch off one layer of the receiver: a ridge map into the donor's layer, and the rest of the donor behind it."""

    GROUP = "honest"
    STUDIED = ("data=s", "data=a", "data=au", "layer=2 data=a")

    class Settings(FittingSettings):
        layer: int = Field(
            1, gt=0, description="hidden layer of both networks at which they are joined, from 1"
        )
        data: str = Field("s", pattern=LETTERS, description="images of the fit, in budget letters")
        strength: float = Field(1e-3, gt=0, description="ridge, relative to the mean squared feature")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """The receiver with the donor's upper layers beside it, fed by a map from the receiver's layer."""
        donor, at = rebuild_donor(receiver, message), self.settings.layer - 1
        if not is_plain(donor):
            raise UsageError(
                "'branch' needs a donor that is a plain ReLU network.", hint="Use ridge_all or distill."
            )
        images = gather_images(self.settings, receiver)
        receiver_hidden = receiver.collect_acts(images).hidden
        theirs = collect_donor_acts(receiver, message, images).hidden
        for role, hidden in (("donor", theirs), ("receiver", receiver_hidden)):
            if self.settings.layer > len(hidden):
                raise UsageError(
                    f"The {role} has {len(hidden)} hidden layers, there is no layer {self.settings.layer}."
                )
        carry = regress_layer(receiver, images, theirs[at], self.settings.strength, at)
        weights, biases = read_matrices(donor)
        # ReLU after the map costs nothing true: the donor's layer is never negative
        tail = make_plain_net(
            [carry.weight, *weights[at + 1 : -1], weights[-1][receiver.new]],
            [carry.bias, *biases[at + 1 : -1], biases[-1][receiver.new]],
        )
        return Beside(receiver.model, receiver.head, receiver.new, tail, at)


class Adversarial(FitsOnImages, GraftMethod):
    """The map fitted again on images bent against it, so that small changes of the input do not undo it (framework 7)."""

    GROUP = "injection"
    STUDIED = ("epsilon=0.05", "epsilon=0.1", "epsilon=0.15", "epsilon=0.2", "epsilon=0.3")

    class Settings(FittingSettings):
        n_images: int = Field(2000, gt=0, description="at most so many images of each kind")
        epsilon: float = Field(
            0.1, gt=0, description="largest change of a pixel, in units of the whole range"
        )
        rounds: int = Field(2, gt=0, description="times the images are bent and the map is fitted again")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """A linear reader of all layers, fitted on the images and, after each round, on the ones bent against it."""
        images = gather_images(self.settings, receiver)
        donor, frame = rebuild_donor(receiver, message), receiver.access.frame
        step = self.settings.epsilon * (frame.high - frame.low)
        features = [receiver.collect_acts(images).everything]
        targets = [collect_donor_acts(receiver, message, images).logits[:, receiver.new]]
        read = regress_layer(receiver, images, targets[0], STRENGTH)
        for _ in range(self.settings.rounds):
            bent = bend_against(receiver, read, donor, images.x, step).clamp(frame.low, frame.high)
            features.append(collect_acts(receiver.model, bent, receiver.head).everything)
            targets.append(predict_logits(donor, bent)[:, receiver.new])
            read = fit_ridge(torch.cat(features), torch.cat(targets), STRENGTH)
        return Beside(receiver.model, receiver.head, receiver.new, read.to_layer())


def bend_against(
    receiver: Side, read: Affine, donor: nn.Module, x: Float[Tensor, "n ..."], step: float, batch: int = 500
) -> Float[Tensor, "n ..."]:
    """Images `x` after one signed gradient step of size `step` each, away from agreement of `read` with the donor."""
    out = []
    for chunk in x.split(batch):
        at = chunk.clone().requires_grad_()
        with torch.enable_grad():
            receiver_acts = read(record_acts(receiver.model, at, receiver.head).everything)
            gap = (receiver_acts - donor(at)[:, receiver.new]).square().sum()
            (slope,) = torch.autograd.grad(gap, at)
        out.append(chunk + step * slope.sign())
    return torch.cat(out)


class MultiConcept(FitsOnImages, GraftMethod):
    """Several of the donor's classes carried over at once, some of them only as rivals (framework method 6)."""

    GROUP = "injection"
    STUDIED = ("source=4 install=4", "source=4,5 install=4", "source=4 install=4,5", "source=4,5 install=4,5")

    class Settings(FittingSettings):
        source: str = Field("", description="rows carried over, such as 4,5; default: new and foreign")
        install: str = Field("", description="classes that the receiver then names; default: the new ones")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """A linear reader of all layers for the installed classes, lowered by the rivals."""
        pair, images = receiver.pair, gather_images(self.settings, receiver)
        source = read_classes(self.settings.source, [*pair.new, *pair.foreign])
        install = read_classes(self.settings.install, receiver.new)
        theirs = collect_donor_acts(receiver, message, images).logits
        if unknown := [c for c in {*source, *install} if c >= theirs.shape[1] or c in pair.old]:
            raise UsageError(
                f"Class {unknown[0]} is no class that the donor could bring.", hint="Use new or foreign ones."
            )
        columns = sorted({*source, *install})
        fit = regress_layer(receiver, images, theirs[:, columns], STRENGTH)
        wanted = [columns.index(c) for c in install]
        weight, bias = fit.weight[wanted], fit.bias[wanted]
        if rivals := [c for c in source if c not in install]:
            # a rival that is not installed lowers the new logits by what it stands above its own mean
            against = [columns.index(c) for c in rivals]
            weight = weight - 0.5 * fit.weight[against].mean(0)
            bias = bias - 0.5 * (fit.bias[against].mean() - theirs[:, rivals].mean())
        return Beside(receiver.model, receiver.head, install, Affine(weight, bias).to_layer())


def read_classes(text: str, default: list[int]) -> list[int]:
    """Class numbers from text such as "4,5" (or "4-5", as labels write it); `default` where there is none."""
    return [int(c) for c in text.replace("-", ",").split(",")] if text else default
