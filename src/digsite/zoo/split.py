"""Deterministic splits of a zoo by group: what belongs together is never on both sides."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from digsite.base.errors import UsageError, name_nearest
from digsite.base.streams import derive_seed

KEYS = {
    "run": ["run"],
    "dataset": ["dataset"],
    "architecture": ["architecture"],
    "recipe": ["optimizer", "activation"],
}


@dataclass(frozen=True)
class Split:
    """Member numbers of each side."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split(labels: pd.DataFrame, by: str, test: float = 0.3, validation: float = 0.0, seed: int = 0) -> Split:
    """Whole groups go to the test set until it has its share, then to validation; the rest is for training."""
    if by not in KEYS:
        raise UsageError(f"There is no split by '{by}'. {name_nearest(by, KEYS)}")
    if not (test >= 0 and validation >= 0 and test + validation < 1):
        raise UsageError(f"test={test} and validation={validation} leave nothing to train on.")
    groups = labels.groupby(KEYS[by], sort=True).indices
    if len(groups) < 2 + (validation > 0):
        raise UsageError(f"A split by {by} needs more groups: this zoo has {len(groups)}.")
    names = sorted(groups, key=lambda name: derive_seed(seed, f"split/{by}/{name}"))
    sides: list[list[int]] = [[], [], []]
    sizes = np.round(np.array([test, validation]) * len(labels)).astype(int)
    for place, name in enumerate(names):
        side = next((s for s in (0, 1) if len(sides[s]) < sizes[s] and place < len(names) - 1), 2)
        sides[side].extend(groups[name])
    held, checked, rest = (np.sort(np.array(side, dtype=np.int64)) for side in sides)
    return Split(rest, checked, held)
