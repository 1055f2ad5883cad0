"""The Small CNN Zoo as published (Unterthiner et al. 2020): `weights.npy`, `metrics.csv.gz` and `layout.csv` of one data set.

The matrix has one flat row for each checkpoint; `layout.csv` says which columns are which variable. The last checkpoint of
each training is kept, its kernels turned from (height, width, in, out) to (out, in, height, width).
"""

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from digsite.base.errors import DigsiteError, NotFound
from digsite.models import build, parse
from digsite.zoo.importers import Importer
from digsite.zoo.store import Architecture, Part

FILES = ("weights.npy", "metrics.csv.gz", "layout.csv")
ACTIVATIONS = {"relu": "relu", "tanh": "tanh"}
SETTINGS = {
    "config.learning_rate": "lr",
    "config.l2reg": "weight_decay",
    "config.dropout": "dropout",
    "config.train_fraction": "fraction",
    "config.optimizer": "optimizer",
    "config.w_init": "init",
    "config.dataset": "dataset",
}
Slot = tuple[str, int, int, tuple[int, ...]]
MEASURES = ("test_accuracy", "test_loss", "train_accuracy", "train_loss")


class SmallCnnZoo(Importer):
    """The Small CNN Zoo as published (Unterthiner et al. 2020): weights, metrics and layout of one data set."""

    @staticmethod
    def read_folder(folder: Path) -> list[Part]:
        """One part for each activation: networks of one shape that are used differently."""
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise NotFound(
                f"'{folder}' lacks {', '.join(missing)}.",
                hint="Unpack one data set of the Small CNN Zoo there.",
            )
        table = pd.read_csv(folder / "metrics.csv.gz")
        weights = np.load(folder / "weights.npy", mmap_mode="r", allow_pickle=False)
        if len(weights) != len(table):
            raise DigsiteError(f"'{folder}' has {len(weights)} rows of weights and {len(table)} of metrics.")
        last = table.sort_values("step").groupby("modeldir", sort=False).tail(1).sort_index()
        slots = read_layout(pd.read_csv(folder / "layout.csv"), weights.shape[1])
        parts, first = [], 0
        for activation, rows in last.groupby("config.activation", sort=True):
            made = _make_part(str(activation), rows, weights[rows.index.to_numpy()], slots, first)
            parts.append(made)
            first += len(rows)
        return parts


def _make_part(activation: str, rows: pd.DataFrame, flat: np.ndarray, slots: list[Slot], first: int) -> Part:
    """Networks of one activation as rows of their parameters, in the order of our module's own."""
    config = {"kind": "small_cnn", "activation": ACTIVATIONS.get(activation, activation)}
    module = build(parse(config))
    tensors = _name_tensors(flat, slots)
    columns = [tensors[name].reshape(len(flat), -1) for name, _ in module.named_parameters()]
    own = pd.DataFrame({ours: rows[theirs].to_numpy() for theirs, ours in SETTINGS.items() if theirs in rows})
    own = own.assign(
        **{name: rows[name].to_numpy() for name in MEASURES if name in rows}, activation=activation
    )
    own = own.assign(generalization_gap=own["train_accuracy"] - own["test_accuracy"])
    own.insert(0, "member", np.arange(first, first + len(rows)))
    return Part(Architecture.of(module, config), first, {1: torch.cat(columns, 1)}, own)


def read_layout(table: pd.DataFrame, width: int) -> list[Slot]:
    """(variable, first column, column behind the last, shape) of each variable, by what the columns hold."""
    named = {re.sub(r"[^a-z]", "", str(column).lower()): column for column in table.columns}
    try:
        name, start, end, shape = (
            next(named[key] for key in keys if key in named)
            for keys in (
                ("varname", "name", "variable"),
                ("startidx", "start"),
                ("endidx", "end"),
                ("shape",),
            )
        )
    except (StopIteration, RuntimeError):
        raise DigsiteError(
            f"layout.csv has the columns {', '.join(map(str, table.columns))}; names, starts, ends and shapes are needed."
        ) from None
    slots = [
        (
            str(row[name]),
            int(row[start]),
            int(row[end]),
            tuple(int(n) for n in ast.literal_eval(str(row[shape]))),
        )
        for row in table.to_dict("records")
    ]
    if sum(stop - begin for _, begin, stop, _ in slots) != width:
        raise DigsiteError(
            f"layout.csv covers {sum(b - a for _, a, b, _ in slots)} of {width} columns of the weights."
        )
    return slots


def _name_tensors(flat: np.ndarray, slots: list[Slot]) -> dict[str, Tensor]:
    """Our names in the order of the variables: convolutions, then the dense layer."""
    kernels = [slot for slot in slots if "kernel" in slot[0]]
    biases = [slot for slot in slots if "bias" in slot[0]]
    named: dict[str, Tensor] = {}
    for position, (kernel, bias) in enumerate(zip(_by_number(kernels), _by_number(biases), strict=True)):
        ours = f"convs.{position}" if len(kernel[3]) == 4 else "head"
        named[f"{ours}.weight"] = _turn_kernel(_cut_slot(flat, kernel))
        named[f"{ours}.bias"] = _cut_slot(flat, bias)
    return named


def _by_number(slots: list[Slot]) -> list[Slot]:
    """Convolutions before the dense layer, each in the order of the numbers in their names."""

    def place(slot: Slot) -> tuple[bool, list[int]]:
        return "dense" in slot[0], [int(n) for n in re.findall(r"_(\d+)", slot[0])]

    return sorted(slots, key=place)


def _cut_slot(flat: np.ndarray, slot: Slot) -> Tensor:
    """One variable of every network, (n, *shape)."""
    _, start, stop, shape = slot
    return torch.from_numpy(np.ascontiguousarray(flat[:, start:stop])).float().reshape(len(flat), *shape)


def _turn_kernel(kernel: Tensor) -> Tensor:
    """(n, height, width, in, out) to (n, out, in, height, width); dense kernels (n, in, out) to (n, out, in)."""
    return kernel.permute(0, 4, 3, 1, 2) if kernel.ndim == 5 else kernel.transpose(1, 2)
