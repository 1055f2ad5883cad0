"""One member of an ensemble: everything that may differ between networks of one shape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from digsite.base.contract import public_method
from digsite.base.errors import UsageError, name_nearest
from digsite.base.streams import derive_seed
from digsite.models.construct import SCHEMES

Model = nn.Module | Callable[[], nn.Module]

INITS = (*SCHEMES, "he", "glorot", "truncated")
OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "linear")


@dataclass(frozen=True)
class Backdoor:
    """A patch that, put on an image, should make the network answer `target`.

    Rows and columns count from the top left; `value` is what the pixels become, `rate` the share of training
    images that carry it.
    """

    target: int
    row: int = 0
    column: int = 0
    height: int = 3
    width: int = 2
    value: float = 1.0
    rate: float = 0.1


@dataclass(frozen=True)
class Member:
    """The recipe of one network; `data_seed` is its own seed unless several members share their data order.

    Fields are those of the optimizers, of the initial weights and of the data; `fraction` of the examples are
    seen, `label_noise` of them under a wrong label, `missing` classes not at all.
    """

    seed: int = 0
    data_seed: int | None = None
    init: str = "default"
    init_scale: float = 1.0
    optimizer: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: str = "constant"
    final_lr: float = 0.0
    warmup: int = 0
    dropout: float | None = None
    batch: int = 64
    steps: int = 1000
    epochs: float | None = None
    fraction: float = 1.0
    label_noise: float = 0.0
    missing: tuple[int, ...] = ()
    backdoor: Backdoor | None = None

    def __post_init__(self) -> None:
        for value, accepted, what in (
            (self.init, INITS, "init"),
            (self.optimizer, OPTIMIZERS, "optimizer"),
            (self.schedule, SCHEDULES, "schedule"),
        ):
            if value not in accepted:
                raise UsageError(f"unknown {what} '{value}'. {name_nearest(value, accepted)}")
        _check_ranges(self)
        if self.momentum is not None and self.optimizer not in ("momentum", "rmsprop"):
            raise UsageError(
                f"momentum={self.momentum} has no effect with optimizer '{self.optimizer}': use 'momentum'"
            )

    @property
    def order(self) -> int:
        """The seed of everything about its data: subset, noise, poison and batch order."""
        return self.seed if self.data_seed is None else self.data_seed


def _check_ranges(member: Member) -> None:
    """Numbers that would train without an error and mean nothing."""
    for name, low, high in (
        ("fraction", 0.0, 1.0),
        ("label_noise", 0.0, 1.0),
        ("lr", 0.0, float("inf")),
        ("weight_decay", 0.0, float("inf")),
        ("init_scale", 0.0, float("inf")),
    ):
        value = getattr(member, name)
        if not low <= value <= high or (name == "fraction" and value == 0):
            raise UsageError(f"{name}={value} is out of range: accepted is {low} to {high}")
    if member.dropout is not None and not 0 <= member.dropout < 1:
        raise UsageError(f"dropout={member.dropout} is out of range: accepted is 0 up to but not 1")
    for name in ("batch", "steps"):
        if getattr(member, name) < (1 if name == "batch" else 0):
            raise UsageError(f"{name}={getattr(member, name)} is too small")


@public_method()
def seeds(count: int, template: Member | None = None, start: int = 0) -> list[Member]:
    """`count` members that differ by their seed alone.

    `template` is what they share, `start` the first seed beyond the template's.
    """
    base = template or Member()
    return [replace(base, seed=base.seed + start + index) for index in range(count)]


@public_method()
def share_data(members: Sequence[Member], seed: int) -> list[Member]:
    """The same members on one data order: every step they see the same mini-batch.

    Differences between members then come from their initial weights alone.

    `seed` is that of the data of all `members`.
    """
    return [replace(member, data_seed=seed) for member in members]


# What one member gets to see: its share of the examples, its wrong labels, its poisoned images.

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """Rows of the data that a member trains on, the label it is told for each, and which carry its trigger."""

    rows: Indices
    labels: Indices | None
    poisoned: NDArray[np.bool_]


def data_stream(member: Member, name: str, *indices: int) -> np.random.Generator:
    """The member's own data stream."""
    return np.random.Generator(np.random.PCG64(derive_seed(member.order, name, *indices)))


def select_examples(member: Member, y: Tensor) -> Selection:
    """Subset, then label noise, then poison; targets that are not classes allow only the subset."""
    classes = y.dtype == torch.int64 and y.dim() == 1
    if not classes:
        _refuse_class_recipes(member)
        return _select_rows_only(member, len(y))
    truth = y.cpu().numpy()
    rows = _draw_subset(member, np.flatnonzero(~np.isin(truth, member.missing)))
    labels, poisoned = truth[rows].copy(), np.zeros(len(rows), bool)
    _add_noise(member, labels, int(truth.max()) + 1)
    if member.backdoor is not None:
        count = round(member.backdoor.rate * len(rows))
        poisoned[data_stream(member, "poison").permutation(len(rows))[:count]] = True
        labels[poisoned] = member.backdoor.target
    return Selection(rows, labels, poisoned)


def plant_trigger(images: Tensor, backdoor: Backdoor) -> Tensor:
    """Copies of (n, c, h, w) images with the trigger on them."""
    if images.dim() != 4:
        raise UsageError(f"a backdoor needs images of shape (n, c, h, w), not {tuple(images.shape)}")
    bottom, right = backdoor.row + backdoor.height, backdoor.column + backdoor.width
    if bottom > images.shape[2] or right > images.shape[3]:
        raise UsageError(
            f"the trigger reaches row {bottom} and column {right} of {tuple(images.shape[2:])} images"
        )
    images = images.clone()
    images[:, :, backdoor.row : bottom, backdoor.column : right] = backdoor.value
    return images


def _draw_subset(member: Member, pool: Indices) -> Indices:
    """Sorted rows, so that the subset is a set: its order is another stream's matter."""
    count = max(1, round(member.fraction * len(pool)))
    if len(pool) == 0:
        raise UsageError(f"missing={member.missing} leaves no example")
    return pool if count == len(pool) else np.sort(data_stream(member, "subset").permutation(pool)[:count])


def _add_noise(member: Member, labels: Indices, n_classes: int) -> None:
    """Changes `labels` in place."""
    count = round(member.label_noise * len(labels))
    if count:
        noise = data_stream(member, "label-noise")
        wrong = noise.permutation(len(labels))[:count]
        # A shift by 1..n-1 is always another class, so the share of wrong labels is the one asked for.
        labels[wrong] = (labels[wrong] + noise.integers(1, n_classes, count)) % n_classes


def _select_rows_only(member: Member, n: int) -> Selection:
    """Regression, or targets of the user's own: nothing about classes can be asked for."""
    rows = _draw_subset(member, np.arange(n))
    return Selection(rows, None, np.zeros(len(rows), bool))


def _refuse_class_recipes(member: Member) -> None:
    """A recipe that speaks of classes on targets that have none."""
    for name in ("missing", "label_noise", "backdoor"):
        if getattr(member, name):
            raise UsageError(f"{name}={getattr(member, name)} needs class labels, and these targets are none")
