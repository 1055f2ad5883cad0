"""Modular addition: the training set is memorized at once, the test set follows much later."""

from __future__ import annotations

import torch

from digsite.base.streams import derive_seed
from digsite.data import sequences
from digsite.models import build
from digsite.models.config import parse
from digsite.track.config import GrokkingTask, TransitionConfig
from digsite.track.core.probe import Probe
from digsite.track.subjects.grid import seeds_of
from digsite.track.subjects.transitions._setup import Setup, generator
from digsite.train import Ensemble, Examples, Member


def setup(task: GrokkingTask, config: TransitionConfig) -> Setup:
    x, y = sequences.modular_addition(task.modulus)
    train, test = sequences.split(len(x), task.fraction, generator(derive_seed(config.seed, "split")))
    shape = {"modulus": task.modulus, "d_embed": task.width // 2, "d_hidden": task.width, "d_out": task.width}
    recipe = {"lr": config.lr, "weight_decay": task.weight_decay, "optimizer": "adamw"}

    def accuracy(ensemble: Ensemble) -> torch.Tensor:
        return (ensemble.forward(x[test]).argmax(-1) == y[test]).double().mean(-1, keepdim=True)

    return Setup(
        model=build(parse({"kind": "modular_mlp", **shape})),
        data=Examples(x[train], y[train]),
        members=[
            Member(seed=s, batch=len(train), steps=config.steps, **recipe)
            for s in seeds_of(config.seed, config.seeds)
        ],
        probe=Probe(x[test], y[test], n_rows=config.rows, seed=config.seed),
        channels=("test accuracy",),
        behavior=accuracy,
    )
