"""Networks that add modulo 59 (Zhong, Liu, Tegmark, Andreas 2023): transformers and MLPs."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from digsite.models import build, parse
from digsite.zoo.store import Architecture, Part


def read(folder: Path) -> list[Part]:
    """One part per network, with its accuracy on all pairs as this code runs it."""
    parts = []
    for number, file in enumerate(sorted(folder.glob("config_*.json"))):
        settings = json.loads(file.read_text())
        identity = file.stem.removeprefix("config_")
        stored = torch.load(folder / f"model_{identity}.pt", map_location="cpu", weights_only=True)
        config = _config(settings, stored)
        module = build(parse(config))
        # The stored attention mask is a buffer that the published forward pass does not use.
        module.load_state_dict({n: t for n, t in stored.items() if not n.endswith("attn.mask")})
        flat = torch.cat([p.detach().flatten() for p in module.parameters()])[None]
        row = {**_row(settings, identity), "accuracy_all_pairs": _accuracy(module, settings["C"])}
        table = pd.DataFrame([{"member": number, **row}])
        parts.append(Part(Architecture.of(module, config), number, {1: flat}, table))
    return parts


def _config(settings: dict[str, Any], stored: dict[str, Tensor]) -> dict[str, Any]:
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


def _row(settings: dict[str, Any], identity: str) -> dict[str, Any]:
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


def _accuracy(module: torch.nn.Module, p: int) -> float:
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    with torch.no_grad():
        return float((module(pairs).argmax(-1) == pairs.sum(1) % p).float().mean())
