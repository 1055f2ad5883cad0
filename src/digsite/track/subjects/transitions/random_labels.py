"""Digits whose labels are drawn anew at every step: the weights move, and there is nothing to learn."""

from __future__ import annotations

import torch
from torch import Tensor

from digsite.base.streams import derive_seed
from digsite.data import load
from digsite.models import build
from digsite.models.config import parse
from digsite.track.config import RandomLabelsTask, TransitionConfig
from digsite.track.core.probe import Probe
from digsite.track.subjects.grid import seeds_of
from digsite.track.subjects.transitions._setup import Setup, generator
from digsite.train import Member, Stream

BATCH = 32


def setup(task: RandomLabelsTask, config: TransitionConfig) -> Setup:
    digits = load("digits")
    x, test = digits.x_train.flatten(1), digits.x_test.flatten(1)

    def batch(step: int, member: Member) -> tuple[Tensor, Tensor]:
        draw = generator(derive_seed(member.seed, "random labels", step))
        rows = torch.randint(len(x), (BATCH,), generator=draw)
        return x[rows], torch.randint(10, (BATCH,), generator=draw)

    return Setup(
        model=build(parse({"kind": "mlp", "sizes": [64, 64, 32, 10]})),
        data=Stream(batch, per_member=True),
        members=[
            Member(seed=s, lr=config.lr, steps=config.steps) for s in seeds_of(config.seed, config.seeds)
        ],
        probe=Probe(test[: config.rows], digits.y_test[: config.rows], n_rows=config.rows),
    )
