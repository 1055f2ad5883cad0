"""Ensembles that grok and ensembles that never do: primes, weight decays, shares of the pairs, seeds, random answers.

What is recorded of each network while it trains: behavior (losses and accuracies), cheap measures that need no test data and no
knowledge of the task, and progress of every frequency from the mechanism side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.base.streams import derive_seed
from digsite.data import sequences
from digsite.models import build
from digsite.models.config import parse
from digsite.track.core.frequencies import like_cosines, restricted_and_excluded, share_frequencies
from digsite.track.subjects.grokking_curves import PublishedRun
from digsite.train import Ensemble, Examples, Member, train_ensemble

CHEAP = ("train_loss", "weight_norm", "embed_norm", "stable_rank", "participation", "hidden_participation")
MATRICES = ("embed.weight", "l1.weight", "unembed.weight")
KEYS = 4  # frequencies that count as the mechanism: those strongest in the final logits


@dataclass(frozen=True)
class GridShape:
    """What the networks of one modulus have in common."""

    modulus: int
    width: int
    steps: int
    every: int
    lr: float


def train_grid(
    shape: GridShape, decays: Sequence[float], shares: Sequence[float], seeds: int, seed: int
) -> dict[str, Tensor | list[Any]]:
    """Trains every weight decay and share of the pairs with several seeds, and as many networks with random answers.

    shape: modulus, width, steps. decays, shares: the grid. seeds: networks per point. seed: of everything. Returns curves
    (members, samples) by name, `share` and `cosine` (members, samples, frequencies), and one label per member.
    """
    x, y = sequences.modular_addition(shape.modulus)
    parts: list[dict[str, Tensor]] = []
    labels: list[dict[str, Any]] = []
    for share in [*shares, 0.0]:  # 0: random answers, which nothing can generalize from
        draw = torch.Generator().manual_seed(derive_seed(seed, "split", shape.modulus, round(100 * share)))
        train, test = sequences.split(len(x), share or max(shares), draw)
        answers = y if share else y[torch.randperm(len(y), generator=draw)]
        chosen = [(d, i) for d in (decays if share else decays[-1:]) for i in range(seeds)]
        members = [
            Member(
                seed=derive_seed(seed, "member", shape.modulus, i, round(100 * d)) % 2**31,
                batch=len(train),
                steps=shape.steps,
                lr=shape.lr,
                weight_decay=d,
                optimizer="adamw",
            )
            for d, i in chosen
        ]
        parts.append(_record(shape, x, answers, train, test, members))
        labels += [{"modulus": shape.modulus, "decay": d, "share": share, "seed": i} for d, i in chosen]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} | {"labels": labels}


def _record(
    shape: GridShape, x: Tensor, y: Tensor, train: Tensor, test: Tensor, members: list[Member]
) -> dict[str, Tensor]:
    model = build(
        parse(
            {
                "kind": "modular_mlp",
                "modulus": shape.modulus,
                "d_embed": shape.width // 2,
                "d_hidden": shape.width,
                "d_out": shape.width,
            }
        )
    )
    taken: list[dict[str, Tensor]] = []
    logits_kept: list[Tensor] = []

    def observe(step: int, ensemble: Ensemble) -> None:
        logits = ensemble.forward(x)
        taken.append(_observe(ensemble, logits, x, y, train, test))
        logits_kept.append(logits.half())

    train_ensemble(model, Examples(x[train], y[train]), members, callback=observe, every=shape.every)
    sums = x.sum(-1) % shape.modulus
    keys = (
        like_cosines(logits_kept[-1].float(), sums).topk(min(KEYS, (shape.modulus - 1) // 2), dim=-1).indices
    )
    for row, logits in zip(taken, logits_kept, strict=True):
        row["restricted_loss"], row["excluded_loss"] = restricted_and_excluded(
            logits.float(), sums, train, keys
        )
    return {name: torch.stack([row[name] for row in taken], 1).float() for name in taken[0]}


def _observe(
    ensemble: Ensemble, logits: Tensor, x: Tensor, y: Tensor, train: Tensor, test: Tensor
) -> dict[str, Tensor]:
    params = ensemble.params
    p = logits.shape[-1]

    def loss(rows: Tensor) -> Tensor:
        flat = F.cross_entropy(logits[:, rows].flatten(0, 1), y[rows].repeat(len(logits)), reduction="none")
        return flat.view(len(logits), -1).mean(1)

    hits = (logits.argmax(-1) == y).double()
    spectra = {name: torch.linalg.svdvals(params[name]) for name in MATRICES}
    hidden = _hidden(params, x[train][:64])
    centered = hidden - hidden.mean(1, keepdim=True)
    energy = torch.linalg.svdvals(centered).square()
    sums = x.sum(-1) % p
    return {
        "train_loss": loss(train),
        "test_loss": loss(test),
        "train_accuracy": hits[:, train].mean(1),
        "test_accuracy": hits[:, test].mean(1),
        "weight_norm": sum(v.square().flatten(1).sum(1) for v in params.values()),  # type: ignore[dict-item]
        "embed_norm": params["embed.weight"].square().flatten(1).sum(1),
        "stable_rank": torch.stack([s.square().sum(1) / s[:, 0].square() for s in spectra.values()]).mean(0),
        "participation": torch.stack(
            [s.square().sum(1) ** 2 / s.pow(4).sum(1) for s in spectra.values()]
        ).mean(0),
        "hidden_participation": energy.sum(1) ** 2 / energy.square().sum(1),
        "share": share_frequencies(params["embed.weight"]),
        "cosine": like_cosines(logits, sums),
    }


def _hidden(params: dict[str, Tensor], pairs: Tensor) -> Tensor:
    """Activations before the output map, on training pairs."""
    a = params["embed.weight"][:, pairs]  # (K, n, 2, d)
    return torch.relu(
        torch.einsum("knd,khd->knh", a.flatten(2), params["l1.weight"]) + params["l1.bias"][:, None]
    )


def as_published_runs(grid: dict[str, Any], every: int) -> list[PublishedRun]:
    """Own networks in the columns of the published curves, so that both are dated by the same code.

    grid: of `train_grid`. every: training steps between samples. A frequency counts as learned when the final logits have a
    cosine of 0.1 with it, as for the published representations.
    """
    found = []
    for i, label in enumerate(grid["labels"]):
        curves = {name: grid[name][i].double().numpy() for name in grid if name != "labels"}
        learned = [k for k in range(curves["cosine"].shape[1]) if curves["cosine"][-1, k] >= 0.1]
        columns = {"epoch": every * np.arange(len(curves["train_loss"]), dtype=float)}
        for k in learned:
            columns[f"logit_freq_{k + 1}_rep_trace_similarity"] = curves["cosine"][:, k]
            columns[f"percent_x_embed_freq_{k + 1}_rep"] = curves["share"][:, k]
        columns |= {
            "test_acc": curves["test_accuracy"],
            "test_loss": curves["test_loss"],
            "train_loss": curves["train_loss"],
            "sum_of_squared_weights": curves["weight_norm"],
            "restricted_loss": curves["restricted_loss"],
            "excluded_loss": curves["excluded_loss"],
            "stable_rank": curves["stable_rank"],
            "participation": curves["participation"],
            "hidden_participation": curves["hidden_participation"],
        }
        name = f"p{label['modulus']}_wd{label['decay']:g}_share{label['share']:g}_seed{label['seed']}"
        parts = tuple(f"freq_{k + 1}" for k in learned) if label["share"] else ()
        found.append(PublishedRun(name, columns, parts, None, None))
    return found
