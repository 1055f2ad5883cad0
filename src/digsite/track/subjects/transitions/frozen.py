"""A network at learning rate zero: every series is constant, and nothing may be found."""

from __future__ import annotations

from digsite.data import load
from digsite.models import build
from digsite.models.config import parse
from digsite.track.config import FrozenTask, TransitionConfig
from digsite.track.core.probe import Probe
from digsite.track.subjects.grid import seeds_of
from digsite.track.subjects.transitions._setup import Setup
from digsite.train import Examples, Member


def setup(task: FrozenTask, config: TransitionConfig) -> Setup:
    digits = load("digits")
    x, test = digits.x_train.flatten(1), digits.x_test.flatten(1)
    return Setup(
        model=build(parse({"kind": "mlp", "sizes": [64, 64, 32, 10]})),
        data=Examples(x, digits.y_train),
        members=[
            Member(seed=s, lr=0.0, batch=32, steps=config.steps) for s in seeds_of(config.seed, config.seeds)
        ],
        probe=Probe(test[: config.rows], digits.y_test[: config.rows], n_rows=config.rows),
    )
