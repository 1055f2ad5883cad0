"""Published curves of networks that learn group multiplication, with how far each representation has formed.

Read from `grokking_curves` under DIGSITE_DATA when it is there; its source names no licence, so nothing of it is kept here.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digsite.base.errors import NotFound

# Curves of one representation R: what they are, and whether they fall when R forms.
PART_CURVES = {
    "embedding share": ("percent_x_embed_{}_rep", False, False),
    "unembedding share": ("percent_unembed_{}_rep", False, False),
    "excluded loss": ("hidden_excluded_loss_{}_rep", False, True),
    "restricted loss": ("hidden_restricted_loss_{}_rep", True, True),
}
WHOLE_CURVES = {
    "test accuracy": ("test_acc", False, False),
    "test loss": ("test_loss", True, True),
    "weight norm": ("sum_of_squared_weights", True, True),
    "train loss": ("train_loss", True, True),
    "all restricted loss": ("restricted_loss", True, True),
    "all excluded loss": ("excluded_loss", False, True),
    "stable rank": ("stable_rank", True, False),
    "participation": ("participation", True, False),
    "hidden participation": ("hidden_participation", True, False),
}
TRUTH = "logit_{}_rep_trace_similarity"


@dataclass(frozen=True)
class PublishedRun:
    """One run: its columns by name, the representations that it learned, and whether its test accuracy came late."""

    name: str
    columns: dict[str, np.ndarray]
    learned: tuple[str, ...]
    epoch_memorized: float | None
    epoch_generalized: float | None

    @property
    def epochs(self) -> np.ndarray:
        return self.columns["epoch"]


def read_published_runs(folder: Path) -> list[PublishedRun]:
    """All runs of the folder, in the order of its labels.

    folder: `grokking_curves`. Columns that a run does not have (the norm of transformers) are missing from it.
    """
    labels = folder / "labels.json"
    if not labels.is_file():
        raise NotFound(
            f"There are no grokking curves in '{folder}'.",
            hint="Set DIGSITE_DATA to the folder of data sets.",
        )
    return [_read_run(folder, entry) for entry in json.loads(labels.read_text())]


def _read_run(folder: Path, entry: dict) -> PublishedRun:
    with gzip.open(folder / entry["file"], "rt") as file:
        table = np.genfromtxt(file, delimiter=",", names=True)
    return PublishedRun(
        entry["file"].split(".")[0],
        {name: np.asarray(table[name], dtype=float) for name in table.dtype.names or ()},
        tuple(entry["learned"]),
        entry["epoch_train_acc_099"],
        entry["epoch_test_acc_050"],
    )
