"""A toy autoencoder: features enter the bottleneck one after the other, by importance."""

from __future__ import annotations

import torch
from torch import Tensor

from digsite.base.streams import derive_seed
from digsite.models import build
from digsite.models.config import parse
from digsite.track.config import TmsTask, TransitionConfig
from digsite.track.core.probe import Probe
from digsite.track.subjects.grid import seeds_of
from digsite.track.subjects.transitions._setup import Setup, generator
from digsite.train import Ensemble, Member, Stream


def setup(task: TmsTask, config: TransitionConfig) -> Setup:
    weights = task.importance ** torch.arange(task.features)

    def inputs(draw: torch.Generator, n: int) -> Tensor:
        values = torch.rand(n, task.features, generator=draw)
        return values * (torch.rand(n, task.features, generator=draw) < task.probability)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        x = inputs(generator(derive_seed(config.seed, "features", step)), task.batch)
        return x, x

    def weighted(outputs: Tensor, targets: Tensor) -> Tensor:
        return (weights * (outputs - targets) ** 2).mean()

    def strengths(ensemble: Ensemble) -> Tensor:
        """Squared length of each feature's direction in the bottleneck; one when it is represented."""
        return ensemble.params["linear1.weight"].double().square().sum(-2).clamp(max=1)

    model = {"kind": "tms", "n_features": task.features, "n_hidden": task.hidden}
    recipe = {"lr": config.lr, "optimizer": "sgd", "init_scale": 0.05}
    return Setup(
        model=build(parse(model)),
        data=Stream(batch),
        members=[Member(seed=s, steps=config.steps, **recipe) for s in seeds_of(config.seed, config.seeds)],
        probe=Probe(
            inputs(generator(derive_seed(config.seed, "probe")), 256), n_rows=config.rows, seed=config.seed
        ),
        loss=weighted,
        channels=tuple(f"feature {i + 1}" for i in range(task.features)),
        behavior=strengths,
    )
