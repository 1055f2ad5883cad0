"""Are jumps predicted by hyper-parameters? Ridge regression over cells that are left out, beside exchanged cells."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from digsite.track.config import CNNS, MLPS, TRANSFORMERS
from digsite.track.judge.phases import Phase1
from digsite.track.subjects.tracked import TrackedRun

FEWEST = 8  # cells; with fewer, as many unknowns as values
RIDGE = 1.0  # on standardized columns: a cell in eight of pull toward the mean; not tuned
DRAWS = 999


@dataclass(frozen=True)
class JumpPrediction:
    """R2 of cells that were left out (0: as good as the mean of the others), its bootstrap interval, and its null."""

    cells: pd.DataFrame
    r2: float
    low: float
    high: float
    null: float
    p: float


def describe_cells(runs: Sequence[TrackedRun], result: Phase1) -> pd.DataFrame:
    """One row a cell: jumps per layer over its seeds, and what was set: depth, width, family, data."""
    counts = Counter(result.jumps.experiment) if len(result.jumps) else Counter()
    rows = [
        {
            "cell": f"{tracked.arch}_{tracked.dataset}",
            "jumps": counts[tracked.name] / len(tracked.layers),
            "depth": float(len(tracked.layers)),
            "log2_width": float(np.log2(widest_layer(tracked.arch))),
            "family": tracked.family,
            "dataset": tracked.dataset,
        }
        for tracked in runs
    ]
    settings = ["cell", "depth", "log2_width", "family", "dataset"]
    return pd.DataFrame(rows).groupby(settings, sort=False).jumps.mean().reset_index()


def widest_layer(arch: str) -> int:
    """Units, channels or the residual stream, by the grid's own table."""
    if arch in TRANSFORMERS:
        return TRANSFORMERS[arch][0]
    return max((MLPS | CNNS)[arch])


def predict_jumps(cells: pd.DataFrame, rng: np.random.Generator) -> JumpPrediction | None:
    """`cells`: from `describe_cells`. None where there are too few cells, or no jump differs between them."""
    y = cells.jumps.to_numpy(float)
    if len(cells) < FEWEST or np.ptp(y) == 0:
        return None
    x = code_settings(cells)
    predicted, guessed = leave_one_out(x, y), leave_one_out(np.zeros((len(y), 0)), y)
    seen = _explained(y, predicted, guessed)
    drawn = []
    for _ in range(DRAWS):
        mixed = rng.permutation(y)
        drawn.append(_explained(mixed, leave_one_out(x, mixed), leave_one_out(np.zeros((len(y), 0)), mixed)))
    picks = rng.integers(len(y), size=(DRAWS, len(y)))
    again = [_explained(y[pick], predicted[pick], guessed[pick]) for pick in picks]
    p = (1 + sum(other >= seen for other in drawn)) / (1 + DRAWS)
    low, high = (float(end) for end in np.quantile(again, [0.025, 0.975]))
    table = cells.assign(predicted=predicted)
    return JumpPrediction(table, seen, low, high, float(np.mean(drawn)), p)


def code_settings(cells: pd.DataFrame) -> Float[np.ndarray, "cells columns"]:
    """Numbers as they are, names as indicators; every column with mean 0 and variance 1."""
    coded = pd.get_dummies(cells[["depth", "log2_width", "family", "dataset"]], dtype=float)
    values = coded.to_numpy(float)
    values = values[:, values.std(axis=0) > 0]
    return (values - values.mean(axis=0)) / values.std(axis=0)


def leave_one_out(
    x: Float[np.ndarray, "cells columns"], y: Float[np.ndarray, "cells"]
) -> Float[np.ndarray, "cells"]:
    """Each cell's value by ridge regression on the others, in closed form: y - residual / (1 - leverage).

    Without columns it is the mean of the other cells, which is what R2 is measured against.
    """
    whole = np.column_stack([np.ones(len(y)), x])
    pull = RIDGE * np.eye(whole.shape[1])
    pull[0, 0] = 0.0  # the mean is not shrunk
    hat = whole @ np.linalg.solve(whole.T @ whole + pull, whole.T)
    return y - (y - hat @ y) / (1 - hat.diagonal())


def _explained(y: np.ndarray, predicted: np.ndarray, guessed: np.ndarray) -> float:
    spread = float(((y - guessed) ** 2).sum())
    return 1 - float(((y - predicted) ** 2).sum()) / spread if spread > 0 else 0.0
