"""Networks that grok and networks that never do: own ensembles over primes, weight decays, shares and seeds, and published curves.

What is recorded of each own network while it trains: behavior (losses and accuracies), cheap measures that need no test data and no
knowledge of the task, and progress of every frequency from the mechanism side.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.base.errors import NotFound
from digsite.base.streams import derive_seed
from digsite.data import sequences
from digsite.models import build
from digsite.models.config import parse
from digsite.track.core.formation import like_cosines, restricted_and_excluded, share_frequencies
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
    shape: GridShape,
    decays: Sequence[float],
    shares: Sequence[float],
    seeds: int,
    seed: int,
    controls: int = 0,
) -> dict[str, Tensor | list[Any]]:
    """Trains every weight decay and share of the pairs with several seeds, and as many networks with random answers.

    shape: modulus, width, steps. decays, shares: the grid. seeds: networks per point. seed: of everything. controls: networks
    with random answers and each weight decay beyond these. Returns curves (members, samples) by name, `share` and `cosine`
    (members, samples, frequencies), and one label per member.
    """
    x, y = sequences.modular_addition(shape.modulus)
    parts: list[dict[str, Tensor]] = []
    labels: list[dict[str, Any]] = []
    for share in [*shares, 0.0]:  # 0: random answers, which nothing can generalize from
        draw = torch.Generator().manual_seed(derive_seed(seed, "split", shape.modulus, round(100 * share)))
        train, test = sequences.split_indices(len(x), share or max(shares), draw)
        answers = y if share else y[torch.randperm(len(y), generator=draw)]
        chosen = [(d, i) for d in (decays if share else decays[-1:]) for i in range(seeds)]
        if not share:
            chosen += [(d, seeds + i) for d in decays for i in range(controls)]
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
        parts.append(_record_training(shape, x, answers, train, test, members))
        labels += [
            {"modulus": shape.modulus, "decay": d, "share": share, "seed": i, "control": i >= seeds}
            for d, i in chosen
        ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} | {"labels": labels}


def _record_training(
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
        taken.append(_observe_networks(ensemble, logits, x, y, train, test))
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


def _observe_networks(
    ensemble: Ensemble, logits: Tensor, x: Tensor, y: Tensor, train: Tensor, test: Tensor
) -> dict[str, Tensor]:
    params = ensemble.params
    p = logits.shape[-1]

    def loss(rows: Tensor) -> Tensor:
        flat = F.cross_entropy(logits[:, rows].flatten(0, 1), y[rows].repeat(len(logits)), reduction="none")
        return flat.view(len(logits), -1).mean(1)

    hits = (logits.argmax(-1) == y).double()
    spectra = {name: torch.linalg.svdvals(params[name]) for name in MATRICES}
    hidden = _hidden_activations(params, x[train][:64])
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


def _hidden_activations(params: dict[str, Tensor], pairs: Tensor) -> Tensor:
    """Activations before the output map, on training pairs."""
    a = params["embed.weight"][:, pairs]  # (K, n, 2, d)
    return torch.relu(
        torch.einsum("knd,khd->knh", a.flatten(2), params["l1.weight"]) + params["l1.bias"][:, None]
    )


def as_published_runs(grid: dict[str, Any], every: int) -> list[GrokkingCurve]:
    """Own networks in the columns of the published curves, so that both are dated by the same code.

    grid: of `train_grid`. every: training steps between samples. A frequency counts as learned when the final logits have a
    cosine of 0.1 with it, as for the published representations.
    """
    published = []
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
        published.append(GrokkingCurve(name, columns, parts, None, None))
    return published


# Published curves of networks that learn group multiplication, with how far each representation has formed.
#
# Read from `grokking_curves` under DIGSITE_DATA when it is there; its source names no licence, so nothing of it is kept here.

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
class GrokkingCurve:
    """One run: its columns by name, the representations that it learned, and whether its test accuracy came late."""

    name: str
    columns: dict[str, np.ndarray]
    learned: tuple[str, ...]
    epoch_memorized: float | None
    epoch_generalized: float | None

    @property
    def epochs(self) -> np.ndarray:
        return self.columns["epoch"]


def read_published_runs(folder: Path) -> list[GrokkingCurve]:
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


def _read_run(folder: Path, entry: dict) -> GrokkingCurve:
    with gzip.open(folder / entry["file"], "rt") as file:
        table = np.genfromtxt(file, delimiter=",", names=True)
    return GrokkingCurve(
        entry["file"].split(".")[0],
        {name: np.asarray(table[name], dtype=float) for name in table.dtype.names or ()},
        tuple(entry["learned"]),
        entry["epoch_train_acc_099"],
        entry["epoch_test_acc_050"],
    )
