"""The original grid: eight MLPs, three CNNs and four transformers on three image sets and one of texts, 55 cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.base.errors import UsageError, name_nearest
from digsite.config import Config
from digsite.data import load, stories
from digsite.data.images import ImageSet
from digsite.models.config import parse
from digsite.track.config import CNNS, MLPS, TEXT, TRANSFORMERS

TEXT_LENGTH = 36
NARROW_SETS = 2  # the original ran its narrow transformer on two of its image sets


@dataclass(frozen=True)
class Cell:
    """One architecture on one data set."""

    arch: str
    dataset: str

    @property
    def family(self) -> str:
        return self.arch.split("_")[0]

    @property
    def name(self) -> str:
        return f"{self.arch}_{self.dataset}"


@dataclass(frozen=True)
class GridTask:
    """A data set cut to the grid's size; images are (n, c, side, side), texts (n, length) tokens."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    n_classes: int
    vocab: int = 0
    pad: int = 0


def list_cells(sets: Sequence[str], families: Sequence[str], archs: Sequence[str] = ()) -> list[Cell]:
    """Texts go to MLPs and to the three transformers of full width, images to all."""
    shapes = [*MLPS, *CNNS, *TRANSFORMERS]
    for arch in archs:
        if arch not in shapes:
            raise UsageError(f"'{arch}' is not a shape of the grid. {name_nearest(arch, shapes)}")
    images = [name for name in sets if name != TEXT]
    cells: list[Cell] = []
    for arch in shapes:
        fit = list(sets)
        if arch in CNNS:
            fit = images
        if arch == "transformer_narrow":
            fit = images[:NARROW_SETS]
        cells += [Cell(arch, dataset) for dataset in fit]
    return [c for c in cells if c.family in families and (not archs or c.arch in archs)]


@lru_cache(maxsize=4)  # fifteen cells share a set
def load_task(name: str, n_train: int, side: int, seed: int) -> GridTask:
    """The first examples of a set; images are averaged down to `side` pixels."""
    if name == TEXT:
        holders = stories.classify_holders(n_train, 500, TEXT_LENGTH, seed)
        return GridTask(
            holders.x_train,
            holders.y_train,
            holders.x_test,
            holders.y_test,
            holders.n_classes,
            holders.vocab,
            holders.pad,
        )
    images: ImageSet = load(name)
    test = min(1000, len(images.x_test))
    return GridTask(
        shrink_images(images.x_train[:n_train], side),
        images.y_train[:n_train],
        shrink_images(images.x_test[:test], side),
        images.y_test[:test],
        images.n_classes,
    )


def shrink_images(images: Tensor, side: int) -> Tensor:
    return images if images.shape[-1] <= side else F.adaptive_avg_pool2d(images, side)


def enlarge_task(task: GridTask, side: int) -> GridTask:
    """Pixels repeated up to a side: a deep CNN halves its image four times."""
    factor = -(-side // task.x_train.shape[-1])
    if factor == 1:
        return task
    grow = lambda x: x.repeat_interleave(factor, -1).repeat_interleave(factor, -2)  # noqa: E731
    return GridTask(grow(task.x_train), task.y_train, grow(task.x_test), task.y_test, task.n_classes)


def fit_task(cell: Cell, task: GridTask) -> GridTask:
    return enlarge_task(task, 2 ** len(CNNS[cell.arch])) if cell.family == "cnn" else task


def model_config(cell: Cell, task: GridTask, patches: int = 2) -> Config:
    """The cell's architecture for the task's shape; a transformer sees an image in `patches` x `patches` parts."""
    if cell.family == "cnn":
        shape = tuple(task.x_train.shape[1:])
        return parse(
            {"kind": "cnn", "image": shape, "channels": CNNS[cell.arch], "n_classes": task.n_classes}
        )
    if cell.family == "transformer":
        return parse(_transformer_config(cell, task, patches))
    hidden = MLPS[cell.arch]
    if task.vocab:
        text: dict[str, Any] = {"vocab": task.vocab, "length": task.x_train.shape[1], "hidden": hidden}
        return parse({"kind": "token_mlp", **text, "n_classes": task.n_classes})
    return parse({"kind": "mlp", "sizes": [task.x_train[0].numel(), *hidden, task.n_classes]})


def _transformer_config(cell: Cell, task: GridTask, patches: int) -> dict[str, Any]:
    """Width and depth of the cell, tokens of the task."""
    width, layers = TRANSFORMERS[cell.arch]
    shape: dict[str, Any] = {"vocab": task.vocab, "length": task.x_train.shape[-1], "pad": task.pad}
    if not task.vocab:
        image = tuple(task.x_train.shape[1:])
        if image[-1] % patches:
            raise UsageError(
                f"An image of {image[-1]} pixels a side cannot be cut into {patches} patches a side.",
                hint="Take a divisor of it for patches, or another side.",
            )
        shape = {"image": image, "patch": image[-1] // patches}
    return {
        "kind": "transformer",
        **shape,
        "d_model": width,
        "d_mlp": 4 * width,
        "n_heads": 4,
        "n_layers": layers,
        "norm": "post",
        "n_classes": task.n_classes,
    }


def cell_inputs(cell: Cell, x: Tensor) -> Tensor:
    """MLPs see an image as one row."""
    return x.flatten(1) if cell.family == "mlp" and x.is_floating_point() else x


def targets_of(cell: Cell) -> frozenset[str]:
    """The kinds of layers the original hooked."""
    return (
        frozenset({"linear", "conv"}) if cell.family != "transformer" else frozenset({"linear", "attention"})
    )


def spread_seeds(seed: int, count: int) -> list[int]:
    return [seed * 1000 + i for i in range(count)]


def probe_rows(task: GridTask, count: int) -> tuple[Tensor, Tensor]:
    """The first test examples, always the same."""
    return task.x_test[:count], task.y_test[:count]


def member_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of right answers of each member, (K, n, classes) against (n)."""
    return (logits.argmax(-1) == labels).double().mean(-1)


def total_parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
