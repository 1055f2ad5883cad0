"""The access budget as an object: a method is handed exactly the data it declared, and a read beyond that raises."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.graft.core.nets import Acts, collect_acts

T = TypeVar("T")

LETTERS = {
    "w": "weights of both networks",
    "s": "images of the shared classes",
    "a": "the receiver's own old-class images",
    "u": "unlabelled images of other classes",
    "b": "the donor's own images, the new class among them",
    "k": "N labelled images of the new class (kN)",
    "F": "all labelled training images of the new class",
    "t": "TEST images of the new class: a leak, only for re-enacting published protocols",
}


class BudgetViolation(UsageError):
    """A method read what it had not declared."""


@dataclass(frozen=True)
class AccessBudget:
    """Which data a method may touch, written in letters: "w", "au", "sbk20"."""

    letters: frozenset[str]
    shots: int = 0

    @classmethod
    def parse_letters(cls, text: str) -> "AccessBudget":
        """A budget from text such as "au" or "sbk20"; weights are always in it.

        `text`: letters, with kN for N labelled images of each new class. A letter that does not exist is a UsageError.
        """
        match = re.fullmatch(r"([wsaubFt]*)(?:k(\d+))?([wsaubFt]*)", text)
        if match is None:
            hint = "Letters: " + "; ".join(f"{k} = {v}" for k, v in LETTERS.items()) + "."
            raise UsageError(f"'{text}' is no access budget.", hint=hint)
        letters = set(match[1] + match[3]) | {"w"} | ({"k"} if match[2] else set())
        return cls(frozenset(letters), int(match[2] or 0))

    def add_letters(self, letters: str) -> "AccessBudget":
        """The same budget with these `letters` as well: calibration reads old images whatever the method may read."""
        return AccessBudget(self.letters | set(letters), self.shots)

    def __str__(self) -> str:
        ordered = [c for c in "sabuFt" if c in self.letters] + ([f"k{self.shots}"] if self.shots else [])
        return "".join(ordered) or "w"


@dataclass(frozen=True)
class LabelledImages:
    """Images with labels (-1 where the reader may not know them) and a name for caches."""

    x: Tensor
    y: Tensor
    key: str

    def __len__(self) -> int:
        return len(self.x)

    def take_first(self, n: int | None) -> "LabelledImages":
        """The first `n` images; all of them where `n` is None or no fewer are there. The key says so, since caches go by it."""
        if n is None or n >= len(self):
            return self
        return LabelledImages(self.x[:n], self.y[:n], f"{self.key}:{n}")

    def of_classes(self, classes: Sequence[int]) -> "LabelledImages":
        """The images of these `classes`, under a key of their own."""
        keep = torch.isin(self.y, torch.tensor(list(classes)))
        return LabelledImages(self.x[keep], self.y[keep], f"{self.key}/{','.join(map(str, classes))}")


@dataclass(frozen=True)
class Frame:
    """The format of an image: anybody who has the network knows that much."""

    shape: tuple[int, ...]
    low: float
    high: float


@dataclass(frozen=True)
class ImagePools:
    """Everything there is, one pool per letter; `held_old` is kept from every fit, for calibration alone."""

    old: LabelledImages
    held_old: LabelledImages
    shared: LabelledImages
    proxy: LabelledImages
    donor: LabelledImages
    new: LabelledImages
    frame: Frame
    leak: LabelledImages | None = None


@dataclass
class Lens:
    """Computes a thing once per (model, images) and keeps it; models are held so that ids stay unique."""

    kept: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    models: dict[int, nn.Module] = field(default_factory=dict)

    def collect_acts(self, model: nn.Module, images: LabelledImages, head: str | None = None) -> Acts:
        """What flows through `model` for these images, worked out once; `head` names its last layer."""
        return self.compute_once(
            model, ("acts", images.key, head), lambda: collect_acts(model, images.x, head)
        )

    def compute_once(self, model: nn.Module, key: tuple[Any, ...], compute: Callable[[], T]) -> T:
        """What `compute` gives, kept for this very `model` object and `key`.

        Whatever decides the result besides the model belongs into the key: images by their own key, settings, seeds.
        """
        self.models[id(model)] = model
        address = (id(model), *key)
        if address not in self.kept:
            self.kept[address] = compute()
        return self.kept[address]

    def forget_model(self, model: nn.Module) -> None:
        """Drop what was kept for a model that is no longer needed."""
        self.kept = {k: v for k, v in self.kept.items() if k[0] != id(model)}
        self.models.pop(id(model), None)


class Access:
    """Hands out declared data and counts what was read."""

    def __init__(self, pools: ImagePools, budget: AccessBudget, lens: Lens | None = None) -> None:
        self._pools, self.budget = pools, budget
        self.lens = lens or Lens()
        self.read: dict[str, int] = {}

    @property
    def frame(self) -> Frame:
        """The format of an image, which is no data."""
        return self._pools.frame

    def open_shared(self, limit: int | None = None) -> LabelledImages:
        """Images of the classes that both know (letter s), at most `limit`."""
        return self._open_pool("s", self._pools.shared.take_first(limit))

    def open_old(self, limit: int | None = None) -> LabelledImages:
        """The receiver's own images (letter a), at most `limit`."""
        return self._open_pool("a", self._pools.old.take_first(limit))

    def open_held_old(self) -> LabelledImages:
        """Images of the receiver's classes that no fit may see (letter a): for calibration alone."""
        return self._open_pool("a", self._pools.held_old)

    def open_proxy(self, limit: int | None = None) -> LabelledImages:
        """Images of classes that neither knows (letter u), their labels taken off: -1."""
        images = self._open_pool("u", self._pools.proxy.take_first(limit))
        return LabelledImages(images.x, torch.full_like(images.y, -1), images.key)

    def open_donor(self, classes: Sequence[int] | None = None, limit: int | None = None) -> LabelledImages:
        """The donor's own images (letter b), of these `classes` alone if given, at most `limit`."""
        images = self._pools.donor if classes is None else self._pools.donor.of_classes(classes)
        return self._open_pool("b", images.take_first(limit))

    def open_shots(self) -> LabelledImages:
        """The labelled images of the new class that the budget allows: kN, F, or (re-enactments) test images."""
        if "t" in self.budget.letters:
            if self._pools.leak is None:
                raise BudgetViolation("Test images are closed to every method outside of a re-enactment.")
            return self._open_pool("t", self._pools.leak)
        if "F" in self.budget.letters:
            return self._open_pool("F", self._pools.new)
        return self._open_pool("k", take_few(self._pools.new, self.budget.shots))

    def open_mixed(self, letters: str, limit: int) -> LabelledImages:
        """The pools named by `letters`, `limit` images of each, as one set."""
        openers = {"s": self.open_shared, "a": self.open_old, "u": self.open_proxy}
        parts = [openers[letter](limit) for letter in letters]
        key = "+".join(p.key for p in parts)
        return LabelledImages(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]), key)

    def _open_pool(self, letter: str, images: LabelledImages) -> LabelledImages:
        """The images, counted; a letter that was not declared raises."""
        if letter not in self.budget.letters:
            raise BudgetViolation(
                f"A method with the budget '{self.budget}' read '{letter}' ({LETTERS[letter]}).",
                hint=f"Declare it: budget '{self.budget.add_letters(letter)}'.",
            )
        self.read[letter] = max(self.read.get(letter, 0), len(images))
        return images


def take_few(pool: LabelledImages, n_per_class: int) -> LabelledImages:
    """The first n images of each class in the pool."""
    classes = pool.y.unique().tolist()
    picks = [(pool.y == c).nonzero()[:n_per_class, 0] for c in classes]
    if not picks or min(map(len, picks)) < n_per_class:
        least = min(map(len, picks), default=0)
        raise UsageError(
            f"{n_per_class} labelled images of each new class were asked for, the data holds {least}.",
            hint=f"Accepted: at most {least}.",
        )
    index = torch.cat(picks)
    return LabelledImages(pool.x[index], pool.y[index], f"{pool.key}@{n_per_class}")
