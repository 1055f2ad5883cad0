"""Null C, same activations: weights shuffled inside their rows and pruned again. What activation norms alone make."""

from collections.abc import Iterator

import numpy as np
import torch

from digsite.base.errors import UsageError
from digsite.prune.core.packed import PackedMask, pack
from digsite.prune.judge.nulls import Observed


def draws(observed: Observed, n: int, seed: int) -> Iterator[PackedMask]:
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
