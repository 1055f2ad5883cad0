"""Null A, coin flips: every weight is kept with the same probability. What chance alone makes."""

from collections.abc import Iterator

import numpy as np

from digsite.prune.core.packed import PackedMask
from digsite.prune.judge.nulls import Observed, random_bits


def draws(observed: Observed, n: int, seed: int) -> Iterator[PackedMask]:
    mask, rng = observed.mask, np.random.default_rng(seed)
    density = mask.counts().sum() / (mask.n_features * mask.n_bits)
    for _ in range(n):
        yield PackedMask(random_bits(rng, mask.words.shape, density, mask.n_bits), mask.n_bits)
