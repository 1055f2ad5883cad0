"""Images split by who may see them, and the scorer, which alone opens the test images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.data import ImageSet
from digsite.graft.core.access import Access, Frame, ImagePools, LabelledImages
from digsite.graft.core.edits import Beside, ReadingGraft, Shifted, copy_model
from digsite.graft.core.metrics import (
    GraftScores,
    count_called_new,
    count_confusion,
    find_shift,
    score_logits,
)
from digsite.graft.core.nets import Acts, Composite, collect_acts, find_head, list_layers, predict_logits

HELD = 0.16  # of every class: calibration and validation, never part of a fit
CALIBRATION = 2000  # of the receiver's held-out images set the one bias
RATE = 0.02  # of the receiver's own images may be called new after calibration


@dataclass(frozen=True)
class Classes:
    """Who knows what; `donor` is everything the donor was trained on."""

    old: Sequence[int]
    shared: Sequence[int]
    new: Sequence[int]
    foreign: Sequence[int]

    @property
    def donor(self) -> tuple[int, ...]:
        """Every class that the donor was trained on."""
        return (*self.shared, *self.new, *self.foreign)


@dataclass(frozen=True)
class ImageSplit:
    """Standardized images: a training part, a held-out part of it, and the test set."""

    train: LabelledImages
    held: LabelledImages
    test: LabelledImages
    mean: float
    std: float
    class_names: tuple[str, ...] = ()


def split_images(images: ImageSet, seed: int, held: float = HELD, *, standard: bool = True) -> ImageSplit:
    """Per class, a random `held` share is set aside; pixels are standardized by the training set, or left alone.

    `seed`: what is set aside. Mean and spread are one number each for all pixels, so a border that is always empty stays so.
    """
    for c in range(images.n_classes):
        if not (images.y_train == c).any():
            raise UsageError(f"The data set '{images.name}' has no training image of class {c}.")
    mean, std = (float(images.x_train.mean()), float(images.x_train.std())) if standard else (0.0, 1.0)
    draw = torch.Generator().manual_seed(derive_seed(seed, "graft/split"))
    order = torch.randperm(len(images.y_train), generator=draw)
    y = images.y_train[order]
    aside = torch.zeros(len(y), dtype=torch.bool)
    for c in y.unique():
        rows = (y == c).nonzero()[:, 0]
        if len(rows) < 2:
            raise UsageError(
                f"Class {c} of '{images.name}' has one training image, and one of each class is set aside.",
                hint="Take two or more of each class (max_train).",
            )
        aside[rows[: max(1, round(held * len(rows)))]] = True
    x = (images.x_train - mean) / std
    name = f"{images.name}/{seed}"
    return ImageSplit(
        LabelledImages(x[order[~aside]], y[~aside], f"{name}/train"),
        LabelledImages(x[order[aside]], y[aside], f"{name}/held"),
        LabelledImages((images.x_test - mean) / std, images.y_test, f"{name}/test"),
        mean,
        std,
        images.class_names,
    )


def make_pools(data: ImageSplit, classes: Classes, leak: bool = False) -> ImagePools:
    """One pool per budget letter; with `leak` the published protocol's: labelled test images of the new class."""
    every = {int(c) for c in data.train.y.unique()}
    rest = tuple(sorted(every - set(classes.old) - set(classes.donor)))
    return ImagePools(
        old=data.train.of_classes(classes.old),
        held_old=data.held.of_classes(classes.old),
        shared=data.train.of_classes(classes.shared),
        proxy=data.train.of_classes(rest),
        donor=data.train.of_classes(classes.donor),
        new=data.train.of_classes(classes.new),
        frame=Frame(tuple(data.train.x.shape[1:]), -data.mean / data.std, (1 - data.mean) / data.std),
        leak=data.test.of_classes(classes.new) if leak else None,
    )


@dataclass(frozen=True)
class GraftOutcome:
    """One grafted model on one set of images, as it is and after the one-bias calibration."""

    raw: GraftScores
    calibrated: GraftScores
    shift: float
    called_new: dict[int, float]
    confusion: Tensor


class Scorer:
    """Runs a model on held-out images; nothing it computes goes back into a method."""

    def __init__(
        self,
        data: ImageSplit,
        classes: Classes,
        *,
        rate: float = RATE,
        validation: bool = False,
        others: int = 200,
    ) -> None:
        self.classes, self.rate = classes, rate
        source = data.held if validation else data.test
        involved = {*classes.old, *classes.donor}
        rest = [
            source.of_classes((int(c),)).take_first(others)
            for c in source.y.unique()
            if int(c) not in involved
        ]
        parts = [source.of_classes(tuple(sorted(involved))), *rest]
        self._x, self._y = torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts])
        self._held = data.held.of_classes(classes.old).take_first(CALIBRATION)
        self._last: tuple[nn.Module, tuple[Acts, Acts]] | None = None

    def __call__(self, model: nn.Module) -> GraftOutcome:
        if isinstance(model, ReadingGraft):
            return self.score_outputs(*self._answer_once(model))
        return self.score_outputs(predict_logits(model, self._x), predict_logits(model, self._held.x))

    @torch.no_grad()
    def _answer_once(self, model: ReadingGraft) -> tuple[Tensor, Tensor]:
        """Most grafts leave the receiver as it was: what flows through it is computed once for all of them."""
        if self._last is None or self._last[0] is not model.base:
            flows = (collect_acts(model.base, x, model.name) for x in (self._x, self._held.x))
            self._last = (model.base, (next(flows), next(flows)))
        test, held = (model.eval().answer_seen(seen) for seen in self._last[1])
        return test, held

    def score_outputs(self, logits: Tensor, held: Tensor) -> GraftOutcome:
        """Scores from `logits` (n, outputs) of the scored images and `held` (m, outputs) of the receiver's held-out ones.

        The shift is set on held-out images and applied to the scored ones: a graft that is calibrated on what it is scored on
        would meet its rate of false alarms by construction.
        """
        c, new = self.classes, list(self.classes.new)
        shift = find_shift(held, new, self.rate)
        moved = logits.clone()
        moved[:, new] += shift
        sets = (list(c.old), new, list(c.foreign))
        return GraftOutcome(
            score_logits(logits, self._y, *sets),
            score_logits(moved, self._y, *sets),
            shift,
            count_called_new(moved, self._y, new),
            count_confusion(logits, self._y, max(logits.shape[1], int(self._y.max()) + 1)),
        )

    def count_strangers(self, model: nn.Module) -> dict[int, float]:
        """Share of each class that neither network was trained on which this model, as it is, calls new.

        Of the donor itself this is what a faithful graft inherits; only what is above it is the graft's own doing.
        """
        known = torch.tensor([*self.classes.old, *self.classes.donor])
        strange = ~torch.isin(self._y, known)
        return count_called_new(
            predict_logits(model, self._x[strange]), self._y[strange], list(self.classes.new)
        )

    def list_others(self) -> list[int]:
        """Every class of the images but the new ones."""
        return [int(c) for c in self._y.unique() if int(c) not in self.classes.new]

    def find_only_answer(self, model: nn.Module) -> int | None:
        """The one class that a model answers to every image; None where it tells any two of them apart."""
        called = predict_logits(model, self._x).argmax(1).unique()
        return int(called[0]) if len(called) == 1 else None

    def taken_for(self, model: nn.Module, classes: list[int], called: int) -> float:
        """Share of these classes' images that are called by another class's name, in percent."""
        keep = torch.isin(self._y, torch.tensor(classes))
        return 100.0 * (predict_logits(model, self._x[keep]).argmax(1) == called).float().mean().item()

    def accuracy_on(self, model: nn.Module, classes: list[int]) -> float:
        """Share of these classes' images called by their name, in percent."""
        keep = torch.isin(self._y, torch.tensor(classes))
        called = predict_logits(model, self._x[keep]).argmax(1)
        return 100.0 * (called == self._y[keep]).float().mean().item()


def check_knowledge(scorer: Scorer, receiver: nn.Module, donor: nn.Module) -> None:
    """Refuses a donor that does not know a new class, or knows nothing, and a receiver that knows it already.

    An untrained or constant network once passed as knowing the class it happened to answer: so what the donor says about
    other classes counts as well. Those are its own ones, and where none was named, all the classes of the images.
    """
    for c in scorer.classes.new:
        others = [o for o in scorer.classes.donor if o not in scorer.classes.new] or scorer.list_others()
        if (only := scorer.find_only_answer(donor)) is not None:
            raise UsageError(
                f"The donor does not know class {c}: it answers class {only} to every image, whatever is on it.",
                hint="Give a trained donor, and the pixels that it was trained on.",
            )
        if (known := scorer.accuracy_on(donor, [c])) < 50:
            raise UsageError(f"The donor does not know class {c}: it names {known:.0f} % of its images.")
        if others and (wrong := scorer.taken_for(donor, others, c)) > 50:
            raise UsageError(
                f"The donor does not know class {c}: it calls {wrong:.0f} % of its other classes {c} as well.",
                hint="A network that was not trained answers few classes for everything; give a trained donor.",
            )
        if (known := scorer.accuracy_on(receiver, [c])) > 50:
            raise UsageError(f"The receiver already knows class {c}: it names {known:.0f} % of its images.")


# Calibration as a step of its own: one constant on the new logits, set on the receiver's held-out images.

BUDGET = "a"


def calibrate_model(model: nn.Module, new: list[int], access: Access, rate: float = RATE) -> nn.Module:
    """The model with `rate` of the held-out old images called new; the bias of its head where it has its own."""
    shift = find_shift(predict_logits(model, access.open_held_old().x), new, rate)
    copy = copy_model(model)
    last, rows = _find_writer(copy, new)
    if last is None or last.bias is None:
        return Shifted(model, new, shift)
    last.bias.data[rows] += shift
    return copy


def _find_writer(model: nn.Module, new: list[int]) -> tuple[nn.Linear | None, list[int]]:
    """The layer that writes the new logits, where the model has one of its own, and its rows for them."""
    if isinstance(model, Beside):
        last = list(list_layers(model.part).values())[-1]
        return (last if isinstance(last, nn.Linear) else None), [model.classes.index(c) for c in new]
    return (None if isinstance(model, Composite) else find_head(model)), new
