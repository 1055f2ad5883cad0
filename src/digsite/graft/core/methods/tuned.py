"""The receiver's own weights moved: until its new logit follows the donor's, or on labels, or class after class."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.config import Field
from digsite.graft.core.access import LabelledImages
from digsite.graft.core.edits import copy_model, put_logits, widen_head
from digsite.graft.core.fitting import (
    FitsOnImages,
    FittingSettings,
    LabelledSettings,
    LearnsFromLabels,
    collect_donor_acts,
    gather_examples,
    gather_images,
)
from digsite.graft.core.images import draw_strokes
from digsite.graft.core.methods import GraftMethod
from digsite.graft.core.methods.ridges import MultiConcept, read_classes
from digsite.graft.core.methods.union import Rule, combine_logits
from digsite.graft.core.pair import Message, Side
from digsite.graft.core.tune import Loss, fit_network, pad_logits


class Distill(FitsOnImages, GraftMethod):
    """The receiver itself, its weights moved until its new logit follows the donor's and its old ones stay."""

    GROUP = "honest"
    STUDIED = ("data=au", "data=a", "data=s")

    class Settings(FittingSettings):
        images: Literal["budget", "strokes"] = Field(
            "budget",
            description="what both networks answer: images of the budget, or pen strokes drawn by a program",
        )
        n_widened: int = Field(
            4000, ge=0, description="more images, bent, cut and pieced together from those"
        )
        rule: Rule = Field("guarded", description="which new logit is followed, as in union")
        steps: int = Field(150, gt=0, description="gradient steps")
        lr: float = Field(2e-3, gt=0, description="highest learning rate")
        batch: int = Field(256, gt=0, description="images per step")

    def declare_budget(self) -> str:
        """Drawn strokes are nobody's images, so they cost no letter."""
        return "w" if self.settings.images == "strokes" else self.settings.data

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """A copy of the receiver that was trained towards the combined logits."""
        if self.settings.images == "strokes":
            images = draw_for(receiver, self.settings.n_images)
            return follow_donor(
                receiver, message, images, self.settings, receiver.make_generator("distill-strokes")
            )
        images = gather_images(self.settings, receiver)
        return follow_donor(receiver, message, images, self.settings, receiver.make_generator("distill"))


class DistillStrokes(Distill):
    """Distillation without any image: both networks answer random pen strokes drawn by a program."""

    PRESET = "images=strokes n_images=6000 steps=300 lr=0.001"
    STUDIED = ("",)


def follow_donor(
    receiver: Side,
    message: Message,
    images: LabelledImages,
    settings: Distill.Settings,
    draw: torch.Generator,
) -> nn.Module:
    """A copy of the receiver fitted to its own old logits and the new ones that the settings' rule makes of both networks'.

    `images`: what both answer. `draw`: the order of the mini-batches.
    """
    model = copy_model(widen_head(receiver.model, receiver.head, receiver.new))
    receiver_logits = pad_logits(receiver.collect_acts(images).logits, receiver.new)
    theirs = collect_donor_acts(receiver, message, images).logits
    target = put_logits(
        receiver_logits, receiver.new, combine_logits(receiver_logits, theirs, receiver.pair, settings.rule)
    )
    return fit_network(
        model,
        images.x,
        target,
        make_distance(receiver),
        steps=settings.steps,
        lr=settings.lr,
        batch=settings.batch,
        draw=draw,
    )


def make_distance(receiver: Side) -> Loss:
    """Squared distance to the target logits: old and new count alike, outputs nobody uses a tenth."""
    old, new = list(receiver.pair.old), receiver.new

    def measure_distance(out: Tensor, target: Tensor) -> Tensor:
        gap = (out - target).square()
        rest = [c for c in range(out.shape[1]) if c not in old and c not in new]
        idle = 0.1 * gap[:, rest].mean() if rest else 0.0
        return gap[:, old].mean() + gap[:, new].mean() + idle

    return measure_distance


def draw_for(receiver: Side, n: int) -> LabelledImages:
    """`n` pictures of pen strokes in the receiver's image format, drawn once for all that want as many."""
    frame, key = receiver.access.frame, f"strokes/{receiver.seed}:{n}"

    def draw_once() -> LabelledImages:
        x = draw_strokes(n, frame.shape, receiver.make_generator("strokes"), frame.low, frame.high)
        return LabelledImages(x, torch.full((n,), -1), key)

    return receiver.access.lens.compute_once(receiver.model, (key,), draw_once)


class Finetune(LearnsFromLabels, GraftMethod):
    """No donor: the receiver trained on labelled new images beside its old ones; with all of them, the upper bound."""

    DONORLESS = True
    GROUP = "honest"
    STUDIED = ("k=20", "k=0")

    class Settings(LabelledSettings):
        n_old: int = Field(4000, gt=0, description="old-class images replayed")
        share: float = Field(0.3, gt=0, lt=1, description="share of new images in what is seen")
        steps: int = Field(200, gt=0, description="gradient steps")
        lr: float = Field(5e-4, gt=0, description="highest learning rate")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """A copy of the receiver trained on labels; the few new images are repeated until they are `share` of all."""
        images = gather_examples(self.settings, receiver)
        is_new = torch.isin(images.y, torch.tensor(receiver.new))
        n_old = int((~is_new).sum())
        want = round(self.settings.share * n_old / (1 - self.settings.share))
        new_rows = is_new.nonzero()[:, 0]
        index = torch.cat([(~is_new).nonzero()[:, 0], new_rows[torch.arange(want) % len(new_rows)]])
        model = copy_model(widen_head(receiver.model, receiver.head, receiver.new))

        def measure_loss(out: Float[Tensor, "n classes"], y: Int[Tensor, "n"]) -> Tensor:
            return F.cross_entropy(out, y)

        return fit_network(
            model,
            images.x[index],
            images.y[index],
            measure_loss,
            steps=self.settings.steps,
            lr=self.settings.lr,
            batch=128,
            draw=receiver.make_generator("finetune"),
        )


class Continual(FitsOnImages, GraftMethod):
    """Classes added one after the other, each onto the network that the last step left (framework method 9)."""

    GROUP = "injection"
    STUDIED = ("order=4", "order=4,5", "order=5,4", "order=4,5 parallel=true")

    class Settings(FittingSettings):
        order: str = Field(
            "", description="classes in the order of adding, such as 4,5; default: the new ones"
        )
        parallel: bool = Field(False, description="all at once instead")
        n_widened: int = Field(
            4000, ge=0, description="more images, bent, cut and pieced together from those"
        )
        steps: int = Field(150, gt=0, description="gradient steps for each class")

    def apply_message(self, receiver: Side, message: Message) -> nn.Module:
        """Distillation of one class after the other; each step counts the classes before it among the old ones."""
        order = read_classes(self.settings.order, receiver.new)
        if self.settings.parallel:
            named = ",".join(map(str, order))
            together = {"source": named, "install": named, "data": self.settings.data}
            return MultiConcept(MultiConcept.read_settings(together)).apply_message(receiver, message)
        distill = Distill(Distill.read_settings(self.settings.model_dump(exclude={"order", "parallel"})))
        model, known = receiver.model, list(receiver.pair.old)
        for i, c in enumerate(order):
            others = (*receiver.pair.foreign, *receiver.pair.new)
            left = tuple(f for f in others if f != c and f not in known)
            pair = replace(receiver.pair, receiver=model, old=tuple(known), new=(c,), foreign=left)
            step = Side(model, receiver.head, pair, receiver.access, receiver.derive_seed("continual", i))
            model = distill.apply_message(step, message)
            known.append(c)
        return model
