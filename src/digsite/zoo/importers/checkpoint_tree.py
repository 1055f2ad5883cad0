"""A folder of trained networks as most public collections lay them out: one state dict a network, numbers beside it.

Model zoos (one folder a network, `params.json` and `result.json` beside its checkpoints), sets of implicit neural
representations (one folder an image, a checkpoint in it) and collections of files with a `metrics.csv`: every file of
weights is a member, of several checkpoints in one folder the last. Members of equal shapes share an architecture.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from digsite.base.errors import DigsiteError, NotFound
from digsite.weights import open_weights
from digsite.weights.formats.torch_file import load_safely, plain_setting
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
        return _make_parts("checkpoint_tree", groups)


class WildPark(Importer):
    """The CNN Wild Park as published: checkpoints of networks of many shapes, and a file of splits with their test accuracies.

    `*splits.json` lists, under train, val and test, the path, the step and the score of every checkpoint. A network's checkpoints
    are all members, as in the published experiment; `network` says whose they are, and none is in two splits.
    """

    @staticmethod
    def read_folder(folder: Path) -> list[Part]:
        """Every listed checkpoint, with its split, its step, its accuracy and what its settings say of the network."""
        groups: dict[tuple, list[tuple[dict[str, Any], Tensor]]] = {}
        for split, path, listed in _read_splits(folder):
            stored = load_safely(path)
            state = stored.get("model") if isinstance(stored, dict) else None
            if not isinstance(state, dict) or not all(
                isinstance(tensor, Tensor) for tensor in state.values()
            ):
                raise DigsiteError(f"'{path}' holds no weights under 'model', where the Wild Park has them.")
            config = plain_setting(stored.get("config"))
            row = {
                "run": str(path.relative_to(folder)),
                "network": path.parent.parent.name,
                "split": split,
                **_join_lists(config if isinstance(config, dict) else {}),
                **listed,
            }
            tensors = {name: tensor.float() for name, tensor in state.items() if tensor.is_floating_point()}
            key = tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items())
            groups.setdefault(key, []).append((row, torch.cat([t.flatten() for t in tensors.values()])))
        return _make_parts("wild_park", groups)


def _read_splits(folder: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Split, file, and what is listed of it."""
    files = sorted(folder.glob("*splits.json"))
    if not files:
        raise NotFound(f"'{folder}' holds no '*splits.json', which lists the checkpoints of the Wild Park.")
    splits = json.loads(files[0].read_text())
    for split, table in splits.items() if isinstance(splits, dict) else ():
        if not isinstance(table, dict) or not {"path", "score"} <= table.keys():
            raise DigsiteError(f"'{files[0]}' names no path and score under '{split}'.")
        steps = table.get("step", [None] * len(table["path"]))
        for name, score, step in zip(table["path"], table["score"], steps, strict=True):
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise DigsiteError(f"'{files[0]}' names '{name}', which lies outside of its folder.")
            if not path.is_file():
                raise NotFound(f"'{files[0]}' names '{name}', which is not there.")
            yield split, path, {"step": step, "test_accuracy": float(score)}


def _join_lists(config: dict[str, Any]) -> dict[str, Any]:
    """One text for a setting that each layer has for itself, so that it is a column."""
    return {
        key: ",".join(str(part) for part in value) if isinstance(value, list) else value
        for key, value in config.items()
    }


def _make_parts(source: str, groups: dict[tuple, list[tuple[dict[str, Any], Tensor]]]) -> list[Part]:
    """A part for each shape of network, its members numbered through."""
    parts, first = [], 0
    for key, members in groups.items():
        names, shapes = zip(*key, strict=True)
        rows = pd.DataFrame([row for row, _ in members])
        rows.insert(0, "member", range(first, first + len(members)))
        architecture = Architecture({"imported": source}, names, shapes, {})
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
