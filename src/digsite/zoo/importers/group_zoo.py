"""MLPs that compose elements of finite groups (Chughtai, Chan, Nanda 2023), with the irreps that each one uses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from digsite.zoo.store import Architecture, Part

NAMES = ("W_x", "W_y", "W", "W_U")
USED = 0.05  # share of the embedding's norm from which an irrep counts as used; the published list is looser


def read(folder: Path) -> list[Part]:
    """logits = relu(concat(W_x[x], W_y[y]) @ W) @ W_U; one part for each stacked file."""
    table = pd.DataFrame([_row(entry) for entry in json.loads((folder / "labels.json").read_text())])
    parts, first = [], 0
    for file, rows in table.groupby("file", sort=True):
        with np.load(folder / str(file), allow_pickle=False) as stored:
            tensors = {name: torch.from_numpy(stored[name][rows["index"].to_numpy()]) for name in NAMES}
        flat = torch.cat([tensors[name].flatten(1) for name in NAMES], dim=1)
        shapes = tuple(tuple(tensors[name].shape[1:]) for name in NAMES)
        architecture = Architecture({"imported": "group_zoo", "order": shapes[0][0]}, NAMES, shapes, {})
        own = rows.assign(member=np.arange(first, first + len(rows)))
        parts.append(Part(architecture, first, {1: flat}, own))
        first += len(rows)
    return parts


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    plain = ("file", "index", "group", "seed", "embed_dim", "hidden_dim", "lr", "weight_decay")
    summary = entry["summary"]
    shares = {name: value for name, value in summary.items() if name.startswith("percent_x_embed_")}
    irreps = {
        name.removeprefix("percent_x_embed_").removesuffix("_rep"): value for name, value in shares.items()
    }
    return {
        **{name: entry[name] for name in plain},
        "run": f"{entry['file'].removesuffix('.npz')}/{entry['seed']}",
        "dataset": entry["group"],
        "fraction": entry["frac_train"],
        "steps": entry["num_epochs"],
        "test_accuracy": summary["test_acc"],
        "train_accuracy": summary["train_acc"],
        "generalization_gap": summary["train_acc"] - summary["test_acc"],
        "test_loss": summary["test_loss"],
        "accuracy_all_pairs": entry["accuracy_all_pairs"],
        "n_test": round((1 - entry["frac_train"]) * _order(entry) ** 2),
        **{f"irrep_share_{name}": value for name, value in irreps.items()},
        **{f"irrep_{name}": float(value > USED) for name, value in irreps.items()},
    }


def _order(entry: dict[str, Any]) -> int:
    return {"S5": 120, "C113": 113, "D59": 118}.get(entry["group"], 0) or int(entry["group"][1:])
