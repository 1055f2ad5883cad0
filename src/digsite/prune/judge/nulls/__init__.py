"""Null models of a mask: every class of this folder with `Null` as its base, several in a file."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from digsite.prune.core.packed import PackedMask


@dataclass(frozen=True)
class ObservedMask:
    """A mask and, where they are known, the weights it was made from and how it was made."""

    mask: PackedMask
    weight: Tensor | None = None
    prune: Callable[[Tensor], Tensor] | None = None  # weights to a boolean keep mask
    trades: int = 10  # how often every row trades on the way to a same-margins draw
    engine: str = "auto"


class Null(ABC):
    """What a mask would look like if some of its structure were chance."""

    KEEPS_DENSITIES: ClassVar[bool] = False
    """Every row and column keeps its count: what is found beside it is more than densities, and verdicts rest on it."""
    PRUNES_AGAIN: ClassVar[bool] = False
    """The weights are needed too, and how they were pruned."""

    @abstractmethod
    def draw_masks(self, observed: ObservedMask, n: int, seed: int) -> Iterator[PackedMask]:
        """`n` masks of the shape of `observed`, rows as features; the same `seed` gives the same masks."""


Member = Null  # found by its name: the classes of this folder that derive from it


def random_bits(
    rng: np.random.Generator, shape: tuple[int, int], probability: float, n_bits: int
) -> np.ndarray:
    """Words of independent bits, each set with `probability` (to 16 binary places), zero past n_bits."""
    places = round(probability * 65536)
    if places >= 65536:
        return np.tile(pad_words(shape[1], n_bits), (shape[0], 1))
    words = np.zeros(shape, np.uint64)
    lowest = (places & -places).bit_length() - 1 if places else 16
    for bit in range(lowest, 16):
        fresh = rng.integers(0, 1 << 64, shape, np.uint64)
        words = (words | fresh) if places >> bit & 1 else (words & fresh)
    return words & pad_words(shape[1], n_bits)


def pad_words(n_words: int, n_bits: int) -> np.ndarray:
    """One row of words with exactly the first n_bits set."""
    flags = np.zeros(n_words * 64, bool)
    flags[:n_bits] = True
    return np.packbits(flags, bitorder="little").view(np.uint64)
