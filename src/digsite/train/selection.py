"""What one member gets to see: its share of the examples, its wrong labels, its poisoned images."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.train.member import Backdoor, Member

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """Rows of the data that a member trains on, the label it is told for each, and which carry its trigger."""

    rows: Indices
    labels: Indices | None
    poisoned: NDArray[np.bool_]


def rng(member: Member, name: str, *indices: int) -> np.random.Generator:
    """The member's own data stream."""
    return np.random.Generator(np.random.PCG64(derive_seed(member.order, name, *indices)))


def select(member: Member, y: Tensor) -> Selection:
    """Subset, then label noise, then poison; targets that are not classes allow only the subset."""
    classes = y.dtype == torch.int64 and y.dim() == 1
    if not classes:
        _refuse_class_recipes(member)
        return _plain(member, len(y))
    truth = y.cpu().numpy()
    rows = _subset(member, np.flatnonzero(~np.isin(truth, member.missing)))
    labels, poisoned = truth[rows].copy(), np.zeros(len(rows), bool)
    _add_noise(member, labels, int(truth.max()) + 1)
    if member.backdoor is not None:
        count = round(member.backdoor.rate * len(rows))
        poisoned[rng(member, "poison").permutation(len(rows))[:count]] = True
        labels[poisoned] = member.backdoor.target
    return Selection(rows, labels, poisoned)


def plant(images: Tensor, backdoor: Backdoor) -> Tensor:
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


def _subset(member: Member, pool: Indices) -> Indices:
    count = max(1, round(member.fraction * len(pool)))
    if len(pool) == 0:
        raise UsageError(f"missing={member.missing} leaves no example")
    return pool if count == len(pool) else np.sort(rng(member, "subset").permutation(pool)[:count])


def _add_noise(member: Member, labels: Indices, n_classes: int) -> None:
    count = round(member.label_noise * len(labels))
    if count:
        noise = rng(member, "label-noise")
        wrong = noise.permutation(len(labels))[:count]
        # A shift by 1..n-1 is always another class, so the share of wrong labels is the one asked for.
        labels[wrong] = (labels[wrong] + noise.integers(1, n_classes, count)) % n_classes


def _plain(member: Member, n: int) -> Selection:
    rows = _subset(member, np.arange(n))
    return Selection(rows, None, np.zeros(len(rows), bool))


def _refuse_class_recipes(member: Member) -> None:
    for name in ("missing", "label_noise", "backdoor"):
        if getattr(member, name):
            raise UsageError(f"{name}={getattr(member, name)} needs class labels, and these targets are none")
