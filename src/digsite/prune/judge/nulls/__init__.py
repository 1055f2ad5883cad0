"""One file per null model of a mask; each has `draws(observed, n, seed) -> Iterator[PackedMask]` (rows as features)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from digsite.prune.core.packed import PackedMask


class Member(Protocol):
    """What a file of this folder has."""

    draws: Callable[..., Any]


@dataclass(frozen=True)
class Observed:
    """A mask and, where they are known, the weights it was made from and how it was made."""

    mask: PackedMask
    weight: Tensor | None = None
    prune: Callable[[Tensor], Tensor] | None = None  # weights to a boolean keep mask
    trades: int = 10  # how often every row trades on the way to a same-margins draw
    engine: str = "auto"


def random_bits(
    rng: np.random.Generator, shape: tuple[int, int], probability: float, n_bits: int
) -> np.ndarray:
    """Words of independent bits, each set with `probability` (to 16 binary places), zero past n_bits."""
    places = round(probability * 65536)
    if places >= 65536:
        return np.tile(padding(shape[1], n_bits), (shape[0], 1))
    words = np.zeros(shape, np.uint64)
    lowest = (places & -places).bit_length() - 1 if places else 16
    for place in range(lowest, 16):
        fresh = rng.integers(0, 1 << 64, shape, np.uint64)
        words = (words | fresh) if places >> place & 1 else (words & fresh)
    return words & padding(shape[1], n_bits)


def padding(n_words: int, n_bits: int) -> np.ndarray:
    """One row of words with exactly the first n_bits set."""
    flags = np.zeros(n_words * 64, bool)
    flags[:n_bits] = True
    return np.packbits(flags, bitorder="little").view(np.uint64)
