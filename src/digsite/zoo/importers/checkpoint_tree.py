"""A folder of trained networks as most public collections lay them out: one state dict a network, numbers beside it.

Model zoos (one folder a network, `params.json` and `result.json` beside its checkpoints), sets of implicit neural
representations (one folder an image, a checkpoint in it) and collections of files with a `metrics.csv`: every file of
weights is a member, of several checkpoints in one folder the last. Members of equal shapes share an architecture.
"""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from digsite.base.errors import DigsiteError, NotFound
from digsite.weights import open_weights
from digsite.zoo.importers import Importer
from digsite.zoo.store import Architecture, Part

WEIGHTS = (".pt", ".pth", ".safetensors", ".ckpt", ".npz", "")
NUMBERS = ("result.json", "results.json", "metrics.json", "params.json", "config.json")
NAMES = {
    "test_acc": "test_accuracy",
    "test_accuracy": "test_accuracy",
    "acc": "test_accuracy",
    "train_acc": "train_accuracy",
    "train_accuracy": "train_accuracy",
    "test_loss": "test_loss",
    "train_loss": "train_loss",
    "label": "label",
}


class CheckpointTree(Importer):
    """A folder of trained networks as most public collections lay them out: one state dict a network, numbers beside it."""

    @staticmethod
    def read_folder(folder: Path) -> list[Part]:
        """Every network of the tree; files that hold no weights are passed over, and if all are that is said."""
        table = _read_shared_table(folder)
        groups: dict[tuple, list[tuple[dict[str, Any], Tensor]]] = {}
        for path in _find_last_checkpoints(folder):
            try:
                bundle = open_weights(path)
            except DigsiteError:  # a read-me, a split, an optimizer
                continue
            tensors = {
                n: bundle.tensors[n].float() for n in bundle.tensors if bundle.tensors[n].is_floating_point()
            }
            if not tensors:
                continue
            key = tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items())
            flat = torch.cat([tensor.flatten() for tensor in tensors.values()])
            groups.setdefault(key, []).append((_describe_network(folder, path, table), flat))
        if not groups:
            raise NotFound(f"No file below '{folder}' holds the weights of a network.")
        parts, first = [], 0
        for key, members in groups.items():
            names, shapes = zip(*key, strict=True)
            rows = pd.DataFrame([row for row, _ in members])
            rows.insert(0, "member", range(first, first + len(members)))
            architecture = Architecture({"imported": "checkpoint_tree"}, names, shapes, {})
            parts.append(Part(architecture, first, {1: torch.stack([flat for _, flat in members])}, rows))
            first += len(members)
        return parts


def _find_last_checkpoints(folder: Path) -> list[Path]:
    """Files of weights; where a network's folder has numbered checkpoints, the one with the highest number."""
    latest: dict[Path, tuple[tuple[int, ...], Path]] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix not in WEIGHTS or path.name.startswith("."):
            continue
        inside = next((p for p in path.relative_to(folder).parents if re.search(r"checkpoint", p.name)), None)
        numbers = tuple(int(n) for n in re.findall(r"\d+", f"{inside or ''}/{path.name if inside else ''}"))
        owner = folder / inside.parent if inside is not None else path
        if owner not in latest or numbers > latest[owner][0]:
            latest[owner] = (numbers, path)
    return [path for _, path in latest.values()]


def _describe_network(folder: Path, path: Path, table: dict[str, dict[str, str]]) -> dict[str, Any]:
    """What is known of a member: its name, numbers in files beside it, its line of a shared table."""
    name = str(path.relative_to(folder))
    row: dict[str, Any] = {"run": name}
    for beside in (path.parent, path.parent.parent):
        for file in NUMBERS if beside.is_relative_to(folder) else ():
            if (beside / file).is_file():
                row |= _keep_plain(_parse_last_object((beside / file).read_text(errors="replace")))
    known = table.get(name) or table.get(path.name) or table.get(path.stem) or {}
    row |= _keep_plain({key: _parse_number(value) for key, value in known.items()})
    if "train_accuracy" in row and "test_accuracy" in row:
        row["generalization_gap"] = row["train_accuracy"] - row["test_accuracy"]
    return row


def _parse_last_object(text: str) -> dict[str, Any]:
    """A JSON object, or the last of one object a line."""
    for part in (text, *reversed(text.strip().splitlines())):
        try:
            value = json.loads(part)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}


def _keep_plain(recorded: dict[str, Any]) -> dict[str, Any]:
    """Numbers and texts alone, under our names where there is one; lists and nested tables say nothing about
    one network.
    """
    return {
        NAMES.get(str(k), str(k)): v for k, v in recorded.items() if isinstance(v, str | int | float | bool)
    }


def _parse_number(text: str) -> float | str:
    """A number where it is one, else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def _read_shared_table(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of `metrics.csv` by their first column."""
    path = folder / "metrics.csv"
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {next(iter(row.values())): row for row in csv.DictReader(file) if row}
