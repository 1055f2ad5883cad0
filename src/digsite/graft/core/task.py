"""Images split by who may see them, and the scorer, which alone opens the test images."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.data import ImageSet
from digsite.graft.core.access import Frame, Images, Pools
from digsite.graft.core.edits import Reading
from digsite.graft.core.metrics import Scores, calibration_shift, called_new, confusion, score
from digsite.graft.core.nets import Acts, acts, predict

HELD = 0.16  # of every class: calibration and validation, never part of a fit
CALIBRATION = 2000  # of the receiver's held-out images set the one bias
RATE = 0.02  # of the receiver's own images may be called new after calibration


@dataclass(frozen=True)
class Classes:
    """Who knows what; `donor` is everything the donor was trained on."""

    old: tuple[int, ...]
    shared: tuple[int, ...]
    new: tuple[int, ...]
    foreign: tuple[int, ...]

    @property
    def donor(self) -> tuple[int, ...]:
        return (*self.shared, *self.new, *self.foreign)


@dataclass(frozen=True)
class Split:
    """Standardized images: a training part, a held-out part of it, and the test set."""

    train: Images
    held: Images
    test: Images
    mean: float
    std: float


def split(images: ImageSet, seed: int, held: float = HELD, *, standard: bool = True) -> Split:
    """Per class, a random `held` share is set aside; pixels are standardized by the training set, or left alone."""
    for c in range(images.n_classes):
        if not (images.y_train == c).any():
            raise UsageError(f"The data set '{images.name}' has no training image of class {c}.")
    mean, std = (float(images.x_train.mean()), float(images.x_train.std())) if standard else (0.0, 1.0)
    draw = torch.Generator().manual_seed(derive_seed(seed, "graft/split"))
    order = torch.randperm(len(images.y_train), generator=draw)
    y = images.y_train[order]
    aside = torch.zeros(len(y), dtype=torch.bool)
    for c in y.unique():
        mine = (y == c).nonzero()[:, 0]
        aside[mine[: max(1, round(held * len(mine)))]] = True
    x = (images.x_train - mean) / std
    name = f"{images.name}/{seed}"
    return Split(
        Images(x[order[~aside]], y[~aside], f"{name}/train"),
        Images(x[order[aside]], y[aside], f"{name}/held"),
        Images((images.x_test - mean) / std, images.y_test, f"{name}/test"),
        mean,
        std,
    )


def pools(data: Split, classes: Classes, leak: bool = False) -> Pools:
    """One pool per budget letter; with `leak` the published protocol's: labelled test images of the new class."""
    every = {int(c) for c in data.train.y.unique()}
    rest = tuple(sorted(every - set(classes.old) - set(classes.donor)))
    return Pools(
        old=data.train.of(classes.old),
        held_old=data.held.of(classes.old),
        shared=data.train.of(classes.shared),
        proxy=data.train.of(rest),
        donor=data.train.of(classes.donor),
        new=data.train.of(classes.new),
        frame=Frame(tuple(data.train.x.shape[1:]), -data.mean / data.std, (1 - data.mean) / data.std),
        leak=data.test.of(classes.new) if leak else None,
    )


@dataclass(frozen=True)
class Outcome:
    """One grafted model on one set of images, as it is and after the one-bias calibration."""

    raw: Scores
    calibrated: Scores
    shift: float
    called_new: dict[int, float]
    confusion: Tensor


class Scorer:
    """Runs a model on held-out images; nothing it computes goes back into a method."""

    def __init__(
        self,
        data: Split,
        classes: Classes,
        *,
        rate: float = RATE,
        validation: bool = False,
        others: int = 200,
    ) -> None:
        self.classes, self.rate = classes, rate
        source = data.held if validation else data.test
        involved = {*classes.old, *classes.donor}
        rest = [source.of((int(c),)).first(others) for c in source.y.unique() if int(c) not in involved]
        parts = [source.of(tuple(sorted(involved))), *rest]
        self._x, self._y = torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts])
        self._held = data.held.of(classes.old).first(CALIBRATION)
        self._last: tuple[nn.Module, tuple[Acts, Acts]] | None = None

    def __call__(self, model: nn.Module) -> Outcome:
        if isinstance(model, Reading):
            return self.from_logits(*self._answers(model))
        return self.from_logits(predict(model, self._x), predict(model, self._held.x))

    @torch.no_grad()
    def _answers(self, model: Reading) -> tuple[Tensor, Tensor]:
        """Most grafts leave the receiver as it was: what flows through it is computed once for all of them."""
        if self._last is None or self._last[0] is not model.base:
            flows = (acts(model.base, x, model.name) for x in (self._x, self._held.x))
            self._last = (model.base, (next(flows), next(flows)))
        test, held = (model.eval().answer(seen) for seen in self._last[1])
        return test, held

    def from_logits(self, logits: Tensor, held: Tensor) -> Outcome:
        c, new = self.classes, list(self.classes.new)
        shift = calibration_shift(held, new, self.rate)
        moved = logits.clone()
        moved[:, new] += shift
        sets = (list(c.old), new, list(c.foreign))
        return Outcome(
            score(logits, self._y, *sets),
            score(moved, self._y, *sets),
            shift,
            called_new(moved, self._y, new),
            confusion(logits, self._y, max(logits.shape[1], int(self._y.max()) + 1)),
        )

    def strangers(self, model: nn.Module) -> dict[int, float]:
        """Share of each class that neither network was trained on which this model, as it is, calls new."""
        known = torch.tensor([*self.classes.old, *self.classes.donor])
        strange = ~torch.isin(self._y, known)
        return called_new(predict(model, self._x[strange]), self._y[strange], list(self.classes.new))

    def taken_for(self, model: nn.Module, classes: list[int], called: int) -> float:
        """Share of these classes' images that are called by another class's name, in percent."""
        keep = torch.isin(self._y, torch.tensor(classes))
        return 100.0 * (predict(model, self._x[keep]).argmax(1) == called).float().mean().item()

    def accuracy(self, model: nn.Module, classes: list[int]) -> float:
        """Share of these classes' images called by their name, in percent."""
        keep = torch.isin(self._y, torch.tensor(classes))
        called = predict(model, self._x[keep]).argmax(1)
        return 100.0 * (called == self._y[keep]).float().mean().item()


def check_knowledge(scorer: Scorer, receiver: nn.Module, donor: nn.Module) -> None:
    """The donor must know each new class and the receiver must not."""
    for c in scorer.classes.new:
        if (known := scorer.accuracy(donor, [c])) < 50:
            raise UsageError(f"The donor does not know class {c}: it names {known:.0f} % of its images.")
        others = [o for o in scorer.classes.donor if o not in scorer.classes.new]
        if others and (wrong := scorer.taken_for(donor, others, c)) > 50:
            raise UsageError(
                f"The donor does not know class {c}: it calls {wrong:.0f} % of its other classes {c} as well.",
                hint="An untrained network answers one class for everything; give a trained donor.",
            )
        if (known := scorer.accuracy(receiver, [c])) > 50:
            raise UsageError(f"The receiver already knows class {c}: it names {known:.0f} % of its images.")
