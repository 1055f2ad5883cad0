"""Networks that learned an algorithm whose answer is known: sums modulo a prime, products in a finite group."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from digsite.models import build, parse
from digsite.zoo.importers import Importer
from digsite.zoo.store import Architecture, Part


class ModularAddition(Importer):
    """Networks that add modulo 59 (Zhong, Liu, Tegmark, Andreas 2023): transformers and MLPs."""

    @staticmethod
    def read_folder(folder: Path) -> list[Part]:
        """One part per network, with its accuracy on all pairs as this code runs it."""
        parts = []
        for number, file in enumerate(sorted(folder.glob("config_*.json"))):
            settings = json.loads(file.read_text())
            identity = file.stem.removeprefix("config_")
            stored = torch.load(folder / f"model_{identity}.pt", map_location="cpu", weights_only=True)
            config = _read_modular_config(settings, stored)
            module = build(parse(config))
            # The stored attention mask is a buffer that the published forward pass does not use.
            module.load_state_dict({n: t for n, t in stored.items() if not n.endswith("attn.mask")})
            flat = torch.cat([p.detach().flatten() for p in module.parameters()])[None]
            row = {
                **_describe_modular(settings, identity),
                "accuracy_all_pairs": _measure_modular(module, settings["C"]),
            }
            table = pd.DataFrame([{"member": number, **row}])
            parts.append(Part(Architecture.of(module, config), number, {1: flat}, table))
        return parts


def _read_modular_config(settings: dict[str, Any], stored: dict[str, Tensor]) -> dict[str, Any]:
    """Model B of the paper adds its two embeddings and has two hidden layers, model A joins them."""
    p = settings["C"]
    if "model_type" in settings:
        two = settings["model_type"] == "B"
        widths = {"d_embed": stored["embed.weight"].shape[1], "d_out": stored["unembed.weight"].shape[1]}
        return {"kind": "modular_mlp", "modulus": p, "join": "add" if two else "concatenate", **widths} | {
            "d_hidden": stored["l1.weight"].shape[0],
            "n_hidden": 2 if two else 1,
        }
    return {
        "kind": "modular_transformer",
        "modulus": p,
        "vocab": stored["embed.W_E"].shape[1],
        "d_model": settings["d_model"],
        "d_mlp": stored["blocks.0.mlp.W_in"].shape[0],
        "n_heads": settings["n_heads"],
        "n_layers": settings["n_layers"],
        "attention": settings["attn_coeff"],
    }


def _describe_modular(settings: dict[str, Any], identity: str) -> dict[str, Any]:
    """A row in the words of our own zoos."""
    return {
        "run": identity,
        "dataset": f"addition mod {settings['C']}",
        "kind": "modular_mlp" if "model_type" in settings else "modular_transformer",
        "attention": settings.get("attn_coeff"),
        "n_layers": settings.get("n_layers"),
        "lr": settings["lr"],
        "weight_decay": settings["weight_decay"],
        "fraction": settings["frac"],
        "steps": settings["epoch"],
    }


def _measure_modular(module: torch.nn.Module, p: int) -> float:
    """Share of all p^2 pairs that are right, run here: the published figure is of another code."""
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    with torch.no_grad():
        return float((module(pairs).argmax(-1) == pairs.sum(1) % p).float().mean())


GROUP_NAMES = ("W_x", "W_y", "W", "W_U")
USED = 0.05  # share of the embedding's norm from which an irrep counts as used; the published list is looser


class GroupZoo(Importer):
    """MLPs that compose elements of finite groups (Chughtai, Chan, Nanda 2023), with the irreps that each one uses."""

    @staticmethod
    def read_folder(folder: Path) -> list[Part]:
        """logits = relu(concat(W_x[x], W_y[y]) @ W) @ W_U; one part for each stacked file."""
        table = pd.DataFrame(
            [_describe_group(entry) for entry in json.loads((folder / "labels.json").read_text())]
        )
        parts, first = [], 0
        for file, rows in table.groupby("file", sort=True):
            with np.load(folder / str(file), allow_pickle=False) as stored:
                tensors = {
                    name: torch.from_numpy(stored[name][rows["index"].to_numpy()]) for name in GROUP_NAMES
                }
            flat = torch.cat([tensors[name].flatten(1) for name in GROUP_NAMES], dim=1)
            shapes = tuple(tuple(tensors[name].shape[1:]) for name in GROUP_NAMES)
            architecture = Architecture(
                {"imported": "group_zoo", "order": shapes[0][0]}, GROUP_NAMES, shapes, {}
            )
            own = rows.assign(member=np.arange(first, first + len(rows)))
            parts.append(Part(architecture, first, {1: flat}, own))
            first += len(rows)
        return parts


def _describe_group(entry: dict[str, Any]) -> dict[str, Any]:
    """A row in the words of our own zoos. Which irreps a network uses follows from its embedding's norm in
    each.
    """
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
        "n_test": round((1 - entry["frac_train"]) * _find_group_order(entry) ** 2),
        **{f"irrep_share_{name}": value for name, value in irreps.items()},
        **{f"irrep_{name}": float(value > USED) for name, value in irreps.items()},
    }


def _find_group_order(entry: dict[str, Any]) -> int:
    """Elements of the group, from its name: C113 is cyclic, D59 a dihedral group of 118."""
    return {"S5": 120, "C113": 113, "D59": 118}.get(entry["group"], 0) or int(entry["group"][1:])
