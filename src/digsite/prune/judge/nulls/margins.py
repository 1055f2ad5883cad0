"""Null B, same margins: every row and every column keeps exactly its count (curveball trades). What densities make."""

from collections.abc import Iterator

import numpy as np

from digsite.prune.core.kernels import engine as engine_for
from digsite.prune.core.packed import PackedMask
from digsite.prune.judge.nulls import Observed


def draws(observed: Observed, n: int, seed: int) -> Iterator[PackedMask]:
    """Besag and Clifford's parallel scheme: back from the mask to a hub, then independently forward from it.

    Trades are symmetric, so mask and draws are exchangeable under the null and p-values are exact for any
    number of trades; more trades only buy power.
    """
    rng = np.random.default_rng(seed)
    hub = walk(observed.mask, observed.trades, rng, observed.engine)
    for _ in range(n):
        yield walk(hub, observed.trades, rng, observed.engine)


def walk(mask: PackedMask, trades: int, rng: np.random.Generator, engine: str = "auto") -> PackedMask:
    """A mask with the same margins, every row having traded `trades` times with a random partner."""
    words = mask.words.copy()
    kernels = engine_for(engine, 64 * words.size)
    half = mask.n_features // 2
    for _ in range(trades):
        order = rng.permutation(mask.n_features)
        keys = rng.integers(0, 1 << 64, half, np.uint64)
        kernels.trade(words, order[:half], order[half : 2 * half], keys, mask.n_bits)
    return PackedMask(words, mask.n_bits)
