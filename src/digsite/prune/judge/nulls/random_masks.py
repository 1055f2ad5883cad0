"""Masks that keep less and less of the structure: of the densities alone, of every margin, of the activation norms."""

from collections.abc import Iterator

import numpy as np
import torch

from digsite.base.errors import UsageError
from digsite.prune.core.kernels import pick_engine
from digsite.prune.core.packed import PackedMask, pack
from digsite.prune.judge.nulls import Null, ObservedMask, random_bits


class CoinFlips(Null):
    """Null A, coin flips: every weight is kept with the same probability. What chance alone makes."""

    def draw_masks(self, observed: ObservedMask, n: int, seed: int) -> Iterator[PackedMask]:
        """Independent bits of the observed density: keeps nothing else."""
        mask, rng = observed.mask, np.random.default_rng(seed)
        density = mask.counts().sum() / (mask.n_features * mask.n_bits)
        for _ in range(n):
            yield PackedMask(random_bits(rng, mask.words.shape, density, mask.n_bits), mask.n_bits)


class Margins(Null):
    """Null B, same margins: every row and every column keeps exactly its count (curveball trades). What densities make."""

    KEEPS_DENSITIES = True

    def draw_masks(self, observed: ObservedMask, n: int, seed: int) -> Iterator[PackedMask]:
        """Besag and Clifford's parallel scheme: back from the mask to a hub, then independently forward from it.

        Trades are symmetric, so mask and draws are exchangeable under the null and p-values are exact for any
        number of trades; more trades only buy power.
        """
        rng = np.random.default_rng(seed)
        hub = trade_margins(observed.mask, observed.trades, rng, observed.engine)
        for _ in range(n):
            yield trade_margins(hub, observed.trades, rng, observed.engine)


def trade_margins(
    mask: PackedMask, trades: int, rng: np.random.Generator, engine: str = "auto"
) -> PackedMask:
    """A mask with the same margins as `mask`, every row having traded `trades` times with a random partner.

    `engine` names the kernels; both give the same bits for the same state of `rng`.
    """
    words = mask.words.copy()
    kernels = pick_engine(engine, 64 * words.size)
    half = mask.n_features // 2
    for _ in range(trades):
        order = rng.permutation(mask.n_features)
        keys = rng.integers(0, 1 << 64, half, np.uint64)
        kernels.trade_rows(words, order[:half], order[half : 2 * half], keys, mask.n_bits)
    return PackedMask(words, mask.n_bits)


class Reprune(Null):
    """Null C, same activations: weights shuffled inside their rows and pruned again. What activation norms alone make."""

    PRUNES_AGAIN = True

    def draw_masks(self, observed: ObservedMask, n: int, seed: int) -> Iterator[PackedMask]:
        """The same recipe on weights shuffled within their rows: keeps input norms and the method, and no
        structure of the weights.
        """
        if observed.weight is None or observed.prune is None:
            raise UsageError(
                "The null 'reprune' prunes shuffled weights again, and a bare mask does not carry its weights.",
                hint="Use the null 'margins', or run it where the model and its calibration are known.",
            )
        rng = np.random.default_rng(seed)
        weight = observed.weight.detach().cpu().numpy()
        for _ in range(n):
            shuffled = torch.from_numpy(rng.permuted(weight, axis=1)).to(observed.weight)
            yield pack(observed.prune(shuffled).cpu().numpy())
