"""Twenty trainings of ten architectures whose checkpoints are clean by construction: the ground that faults are planted in.

They differ in what shapes a path: optimizer, schedule, weight decay, batch noise, even or log-spaced checkpoints. Two more architectures
(an MLP of other widths, modular addition) with other seeds were used to set the thresholds of `core/series_path.py` and are not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from digsite.base.streams import derive_seed
from digsite.data import load, sequences
from digsite.models import build
from digsite.models.config import parse
from digsite.train import Member, Stream, log_spaced, train_ensemble


@dataclass(frozen=True)
class CleanSeries:
    """Checkpoints of one training in memory: `states[i]` are the weights after `steps[i]` steps."""

    name: str
    steps: tuple[int, ...]
    states: tuple[dict[str, Tensor], ...]


@dataclass(frozen=True)
class Ground:
    """An architecture with its data, and two recipes to train it by."""

    model: dict[str, Any]
    data: Callable[[int], Any]
    recipes: tuple[dict[str, Any], dict[str, Any]]
    loss: Any = "cross_entropy"


def _draw_images(seed: int) -> Any:
    return load("digits")


def _flat_images(seed: int) -> Any:
    return load("digits").x_train.flatten(1), load("digits").y_train


def _draw_rows(seed: int) -> Any:
    return load("digits").x_train.squeeze(1), load("digits").y_train


def _draw_strings(seed: int) -> Stream:
    def batch(step: int) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(derive_seed(seed, "strings", step))
        tokens = sequences.draw_repeated(16, 8, 24, draw)
        return tokens, tokens

    return Stream(batch)


def _draw_features(count: int) -> Callable[[int], Stream]:
    def made(seed: int) -> Stream:
        def batch(step: int) -> tuple[Tensor, Tensor]:
            draw = torch.Generator().manual_seed(derive_seed(seed, "features", step))
            x = torch.rand(128, count, generator=draw) * (torch.rand(128, count, generator=draw) < 0.1)
            return x, x

        return Stream(batch)

    return made


def _draw_pairs(seed: int) -> Any:
    x, y = sequences.modular_addition(31)
    rows, _ = sequences.split_indices(len(x), 0.6, torch.Generator().manual_seed(seed))
    return x[rows], y[rows]


ADAM, NOISY = {"optimizer": "adam", "lr": 2e-3}, {"optimizer": "adam", "lr": 1e-2, "batch": 16}
MOMENTUM = {"optimizer": "momentum", "lr": 0.03, "schedule": "cosine"}
DECAYED = {"optimizer": "adamw", "lr": 3e-3, "weight_decay": 0.3, "warmup": 50}
PLAIN = {"optimizer": "sgd", "lr": 0.1}
IMAGE = {"image": [1, 8, 8]}
GROUNDS: dict[str, Ground] = {
    "deep_mlp": Ground({"kind": "mlp", "sizes": [64, 32, 32, 32, 32, 10]}, _flat_images, (ADAM, PLAIN)),
    "wide_mlp": Ground({"kind": "mlp", "sizes": [64, 256, 10]}, _flat_images, (NOISY, MOMENTUM)),
    "cnn": Ground({"kind": "cnn", **IMAGE, "channels": [8, 16]}, _draw_images, (ADAM, MOMENTUM)),
    "wild_cnn": Ground({"kind": "wild_cnn"}, _draw_images, (DECAYED, PLAIN)),
    "transformer": Ground(
        {"kind": "transformer", **IMAGE, "patch": 4, "d_model": 24, "n_heads": 2, "d_mlp": 48},
        _draw_images,
        (ADAM, NOISY),
    ),
    "gru": Ground({"kind": "gru", "n_inputs": 8, "n_hidden": 24}, _draw_rows, (ADAM, DECAYED)),
    "induction": Ground(
        {"kind": "induction", "vocab": 24, "context": 16, "d_model": 24},
        _draw_strings,
        (ADAM, NOISY),
        "next_token",
    ),
    "modular_transformer": Ground(
        {"kind": "modular_transformer", "modulus": 31, "vocab": 31, "d_model": 32, "d_mlp": 64, "n_heads": 2},
        _draw_pairs,
        (ADAM, DECAYED),
    ),
    "tms": Ground(
        {"kind": "tms", "n_features": 40, "n_hidden": 10}, _draw_features(40), (ADAM, MOMENTUM), "mse"
    ),
    "resid_mlp": Ground(
        {"kind": "resid_mlp", "n_features": 20, "d_resid": 60, "d_mlp": 16},
        _draw_features(20),
        (ADAM, DECAYED),
        "mse",
    ),
}


def train_series(
    names: list[str], seed: int, steps: int, count: int
) -> Iterator[tuple[CleanSeries, CleanSeries]]:
    """For each ground and recipe a series and one of a stranger: same architecture and recipe, another seed.

    names: of GROUNDS. seed: of the first network. steps: of training. count: of checkpoints, evenly spaced for the
    first recipe of a ground and log-spaced for the second.
    """
    for name in names:
        ground = GROUNDS[name]
        model, data = build(parse(ground.model)), ground.data(derive_seed(seed, name))
        for k, recipe in enumerate(ground.recipes):
            at = log_spaced(steps, count) if k else tuple(np.linspace(0, steps, count).astype(int).tolist())
            seeds = [derive_seed(seed, name, k, i) % 2**31 for i in range(2)]
            members = [Member(**{"batch": 32, **recipe, "seed": s, "steps": steps}) for s in seeds]
            yield _train_clean(
                f"{name}/{recipe['optimizer']}/{'log' if k else 'even'}",
                model,
                data,
                members,
                at,
                ground.loss,
            )


def _train_clean(
    name: str, model: nn.Module, data: Any, members: list[Member], at: tuple[int, ...], loss: Any
) -> tuple[CleanSeries, CleanSeries]:
    done = train_ensemble(model, data, members, checkpoints=at, loss=loss)
    layout = done.ensemble.layout
    own, stranger = (
        CleanSeries(
            f"{name}/{i}" if i else name,
            done.steps,
            tuple({n: v.clone() for n, v in layout.views(row[i]).items()} for row in done.snapshots),
        )
        for i in range(2)
    )
    return own, stranger
