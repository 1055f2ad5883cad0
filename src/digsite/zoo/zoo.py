"""A stored collection of trained networks: weights mapped from disk, one table of what is true of them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import DigsiteError, NotFound, UsageError, name_nearest
from digsite.base.streams import derive_seed
from digsite.models import build, parse
from digsite.weights.bundle import WeightBundle
from digsite.weights.hub import OnHub
from digsite.zoo.store import TABLE, Block, Index, locate_zoo, read_index, read_member, read_rows

# Deterministic splits of a zoo by group: what belongs together is never on both sides.

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


def split_members(
    labels: pd.DataFrame, by: str, test: float = 0.3, validation: float = 0.0, seed: int = 0
) -> Split:
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
    for position, name in enumerate(names):
        side = next((s for s in (0, 1) if len(sides[s]) < sizes[s] and position < len(names) - 1), 2)
        sides[side].extend(groups[name])
    held, checked, rest = (np.sort(np.array(side, dtype=np.int64)) for side in sides)
    return Split(rest, checked, held)


# How well a perfect reader would score against labels that were themselves measured on few images.


@dataclass(frozen=True)
class Ceiling:
    """Best expected R2 and Kendall tau."""

    r2: float
    tau: float


@public_method(accuracy=Numbers(1, rows=2))
def noise_ceiling(accuracy: np.ndarray, n_test: int, seed: int = 0, draws: int = 20) -> Ceiling:
    """Measured accuracies of n_test images: R2 in closed form, tau by measuring again with binomial noise.

    `accuracy` (n,) are shares of `n_test` right answers; `draws` of binomial noise from `seed`.
    """
    if n_test < 1 or draws < 1 or accuracy.min() < 0 or accuracy.max() > 1:
        raise UsageError(
            "Accuracies are shares from 0 to 1 of at least one test image, measured again at least once."
        )
    if float(accuracy.max()) == float(accuracy.min()):
        raise UsageError(
            "All networks have the same accuracy: nothing can be ranked, so there is no ceiling."
        )
    from scipy.stats import kendalltau  # a second of loading, which reading a model does not need

    noise = accuracy * (1 - accuracy) / n_test
    spread = accuracy.var()
    rng = np.random.default_rng(derive_seed(seed, "noise-ceiling"))
    taus = [float(kendalltau(accuracy, rng.binomial(n_test, accuracy))[0]) for _ in range(draws)]  # type: ignore[arg-type]
    return Ceiling(float(1 - noise.mean() / spread) if spread > 0 else 0.0, float(np.mean(taus)))


class Zoo(OnHub):
    """Opening reads the index alone; tables and shards are read when they are asked for."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder, self.index = folder, index

    @classmethod
    def open_saved(cls, path: Path) -> "Zoo":
        return cls.open(path)

    def place_saved(self, folder: Path) -> Path:
        """A zoo lies in its own folder, and may be larger than memory."""
        return self.folder

    @classmethod
    def open(cls, path: str | Path) -> "Zoo":
        """A zoo's folder, a run that made one, or the name of a study that did."""
        folder = locate_zoo(str(path))
        if not (folder / TABLE).is_file():
            raise NotFound(f"The zoo at '{folder}' has no labels: {TABLE} is missing.")
        return cls(folder, read_index(folder))

    @property
    def name(self) -> str:
        return self.index.name

    @property
    def steps(self) -> tuple[int, ...]:
        """The checkpoints that are stored; the last one is the trained network."""
        return self.index.steps

    @property
    def recipe(self) -> dict[str, Any]:
        return self.index.recipe

    def _repr_html_(self) -> str:
        """In a notebook: what is in it, and how good its networks are."""
        from digsite.figures import histogram
        from digsite.figures.style import notebook_card

        kinds = ", ".join(sorted({str(a.model.get("kind", "model")) for a in self.index.architectures}))
        facts = {
            "networks": len(self),
            "architectures": f"{len(self.index.architectures)} ({kinds})",
            "checkpoints at step": ", ".join(map(str, self.steps)),
        }
        accuracy = self.labels.get("test_accuracy")
        figure = None if accuracy is None else histogram({"networks": accuracy}, x="test accuracy", bins=20)
        return notebook_card(f"Zoo {self.name}", facts, figure)

    def __len__(self) -> int:
        return self.index.n

    @cached_property
    def labels(self) -> pd.DataFrame:
        """One row per member, in member order, with the number of its architecture."""
        table = pd.read_csv(self.folder / TABLE)
        if len(table) != len(self):
            raise DigsiteError(
                f"The zoo at '{self.folder}' has {len(self)} members and {len(table)} rows of labels."
            )
        table = table.set_index("member", drop=False).rename_axis(None).sort_index()
        shape = [block.architecture for block in self.index.blocks for _ in range(block.count)]
        return pd.concat([table, pd.Series(shape, table.index, name="architecture")], axis=1)

    @property
    def params(self) -> Tensor:
        """All trained networks as rows (members, parameters), if they have one architecture."""
        return self.rows()

    def rows(self, step: int | None = None) -> Tensor:
        """All members' parameters at a checkpoint; without a copy where one shard holds them all."""
        if len(self.index.architectures) > 1:
            count = len(self.index.architectures)
            raise UsageError(
                f"The zoo '{self.name}' has {count} architectures, so no one matrix: use zoo.blocks()."
            )
        parts = [read_rows(self.folder, self.index, block, step) for block in self.index.blocks]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def blocks(self, step: int | None = None) -> list[tuple[Block, Tensor]]:
        """Parameters by block: neighbours of one architecture in one shard."""
        return [(block, read_rows(self.folder, self.index, block, step)) for block in self.index.blocks]

    def member(self, number: int, step: int | None = None) -> WeightBundle:
        """The weights of one network by name."""
        return read_member(self.folder, self.index, number, step)

    def module(self, number: int, step: int | None = None) -> nn.Module:
        """One network, ready to run; only for zoos whose architectures are digsite's own."""
        bundle = self.member(number, step)
        if "kind" not in bundle.meta["model"]:
            raise UsageError(f"The zoo '{self.name}' was imported: its networks are weights without code.")
        module = build(parse(bundle.meta["model"]))
        module.load_state_dict(bundle.state_dict(), strict=False)
        return module.eval()

    def split(self, by: str = "run", test: float = 0.3, validation: float = 0.0, seed: int = 0) -> Split:
        """Member numbers for training, validation and test, by run, dataset, recipe or architecture."""
        return split_members(self.labels, by, test, validation, seed)

    def ceiling(self) -> Ceiling:
        """What a perfect reader of test accuracy would score."""
        return noise_ceiling(self.labels["test_accuracy"].to_numpy(), int(self.labels["n_test"].iloc[0]))
