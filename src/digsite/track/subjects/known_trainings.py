"""Trainings with a known answer: when each learns what, or that there is nothing to be learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.streams import derive_seed
from digsite.config import Config
from digsite.data import load, sequences
from digsite.models import build
from digsite.models.config import parse
from digsite.track.config import (
    DeepLinearTask,
    FrozenTask,
    GrokkingTask,
    InductionTask,
    RandomLabelsTask,
    TmsTask,
    TransitionConfig,
)
from digsite.track.core.mechanisms import copying_score, head_circuits, prefix_matching
from digsite.track.core.probe import Kind, Probe
from digsite.track.subjects.grid import spread_seeds
from digsite.train import Ensemble, Examples, Member, Stream

Behavior = Callable[[Ensemble], Tensor]


@dataclass(frozen=True)
class Setup:
    """`behavior` gives (members, channels) that rise from 0 to 1; none for a null. `truth` are known times in steps."""

    model: nn.Module
    data: Any
    members: list[Member]
    probe: Probe
    loss: Any = "cross_entropy"
    kinds: frozenset[Kind] = frozenset({"linear", "conv", "attention", "residual", "embedding"})
    channels: tuple[str, ...] = ()
    behavior: Behavior | None = None
    truth: dict[str, float] = field(default_factory=dict)
    start: Tensor | None = None


def start_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@singledispatch
def set_up_training(task: Config, config: TransitionConfig) -> Setup:
    """What the study trains for `task`, found by the type of its settings: a task is one more function below this one."""
    raise NotImplementedError(type(task).__name__)


# Modular addition: the training set is memorized at once, the test set follows much later.


@set_up_training.register
def set_up_grokking(task: GrokkingTask, config: TransitionConfig) -> Setup:
    x, y = sequences.modular_addition(task.modulus)
    train, test = sequences.split_indices(
        len(x), task.fraction, start_generator(derive_seed(config.seed, "split"))
    )
    shape = {"modulus": task.modulus, "d_embed": task.width // 2, "d_hidden": task.width, "d_out": task.width}
    recipe = {"lr": config.lr, "weight_decay": task.weight_decay, "optimizer": "adamw"}

    def accuracy(ensemble: Ensemble) -> torch.Tensor:
        return (ensemble.forward(x[test]).argmax(-1) == y[test]).double().mean(-1, keepdim=True)

    return Setup(
        model=build(parse({"kind": "modular_mlp", **shape})),
        data=Examples(x[train], y[train]),
        members=[
            Member(seed=s, batch=len(train), steps=config.steps, **recipe)
            for s in spread_seeds(config.seed, config.seeds)
        ],
        probe=Probe(x[test], y[test], n_rows=config.rows, seed=config.seed),
        channels=("test accuracy",),
        behavior=accuracy,
    )


# A string said twice: accuracy on the second time rises when induction heads form.


@set_up_training.register
def set_up_induction(task: InductionTask, config: TransitionConfig) -> Setup:
    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        draw = start_generator(derive_seed(config.seed, "strings", step))
        tokens = sequences.draw_repeated(task.batch, task.half, task.vocab, draw)
        return tokens, tokens

    held_out = sequences.draw_repeated(
        64, task.half, task.vocab, start_generator(derive_seed(config.seed, "probe"))
    )

    def accuracy(ensemble: Ensemble) -> torch.Tensor:
        """On the predictable tokens: all of the second time but the first."""
        guesses = ensemble.forward(held_out).argmax(-1)[..., task.half : -1]
        return (guesses == held_out[:, task.half + 1 :]).double().mean((-1, -2))

    def matching(ensemble: Ensemble) -> torch.Tensor:
        """The best head's attention to what followed the token's earlier occurrence."""
        best = []
        for i in range(len(ensemble.members)):
            captured, _ = Probe(held_out[:16]).run(ensemble.module(i), [], patterns=True)
            best.append(
                max(float(prefix_matching(p, held_out[:16]).max()) for p in captured.patterns.values())
            )
        return torch.tensor(best, dtype=torch.float64)

    def behavior(ensemble: Ensemble) -> torch.Tensor:
        return torch.stack([accuracy(ensemble), matching(ensemble), best_copying(ensemble, task.heads)], 1)

    return Setup(
        model=build(
            parse(
                {
                    "kind": "induction",
                    "vocab": task.vocab,
                    "context": 2 * task.half,
                    "d_model": task.width,
                    "n_heads": task.heads,
                }
            )
        ),
        data=Stream(batch),
        members=[
            Member(seed=s, lr=config.lr, steps=config.steps) for s in spread_seeds(config.seed, config.seeds)
        ],
        probe=Probe(held_out, n_rows=config.rows, seed=config.seed),
        loss="next_token",
        channels=("second-time accuracy", "prefix matching", "copying"),
        behavior=behavior,
    )


def best_copying(ensemble: Ensemble, heads: int) -> torch.Tensor:
    """The best copying score among the heads of the last layer."""
    p = ensemble.params
    last = max(int(name.split(".")[1]) for name in p if name.startswith("layers."))
    value, output = (p[f"layers.{last}.{side}_proj.weight"] for side in "vo")
    best = []
    for i in range(len(ensemble.members)):
        circuits = head_circuits(p["embed.weight"][i], value[i], output[i], p["unembed.weight"][i], heads)
        best.append(max(copying_score(circuit) for circuit in circuits))
    return torch.tensor(best, dtype=torch.float64)


# A toy autoencoder: features enter the bottleneck one after the other, by importance.


@set_up_training.register
def set_up_tms(task: TmsTask, config: TransitionConfig) -> Setup:
    weights = task.importance ** torch.arange(task.features)

    def inputs(draw: torch.Generator, n: int) -> Tensor:
        values = torch.rand(n, task.features, generator=draw)
        return values * (torch.rand(n, task.features, generator=draw) < task.probability)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        x = inputs(start_generator(derive_seed(config.seed, "features", step)), task.batch)
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
        members=[
            Member(seed=s, steps=config.steps, **recipe) for s in spread_seeds(config.seed, config.seeds)
        ],
        probe=Probe(
            inputs(start_generator(derive_seed(config.seed, "probe")), 256),
            n_rows=config.rows,
            seed=config.seed,
        ),
        loss=weighted,
        channels=tuple(f"feature {i + 1}" for i in range(task.features)),
        behavior=strengths,
    )


# A deep linear network: each mode of the target rises on its own sigmoid, at a time known in closed form.


@set_up_training.register
def set_up_deep_linear(task: DeepLinearTask, config: TransitionConfig) -> Setup:
    """y = U diag(s) V^T x on whitened x, from aligned balanced weights of strength `start`."""
    modes, d = len(task.strengths), task.inputs
    draw = start_generator(derive_seed(config.seed, "target"))
    left = torch.linalg.qr(torch.randn(d, d, generator=draw))[0][:, :modes]
    right = torch.linalg.qr(torch.randn(d, d, generator=draw))[0][:, :modes]
    strengths = torch.tensor(task.strengths)
    target = left @ torch.diag(strengths) @ right.T
    inputs = math.sqrt(d) * torch.linalg.qr(torch.randn(d, d, generator=draw))[0]  # rows: exactly white

    def batch(step: int, member: Member) -> tuple[Tensor, Tensor]:
        noise = torch.randn(d, d, generator=start_generator(derive_seed(member.seed, "noise", step)))
        return inputs, inputs @ target.T + task.noise * noise

    def halved(outputs: Tensor, targets: Tensor) -> Tensor:
        """So that the gradient is that of the theory: half the squared error, averaged over inputs."""
        return 0.5 * (outputs - targets).square().sum(-1).mean()

    def rises(ensemble: Ensemble) -> Tensor:
        params = ensemble.params
        product = params["1.weight"] @ params["0.weight"]
        return (torch.einsum("im,kij,jm->km", left, product, right) / strengths).double()

    first, second = nn.Linear(d, modes, bias=False), nn.Linear(modes, d, bias=False)
    model = nn.Sequential(first, second)
    root = math.sqrt(task.start)
    with torch.no_grad():
        first.weight.copy_(root * right.T)
        second.weight.copy_(root * left)
    row = torch.cat([p.detach().flatten() for p in model.parameters()])
    members = [
        Member(seed=s, lr=config.lr, optimizer="sgd", steps=config.steps)
        for s in spread_seeds(config.seed, config.seeds)
    ]
    return Setup(
        model=model,
        data=Stream(batch, per_member=True),
        members=members,
        probe=Probe(math.sqrt(d) * torch.randn(4 * d, d, generator=draw) / math.sqrt(d), n_rows=4 * d),
        loss=halved,
        channels=tuple(f"mode {s:g}" for s in task.strengths),
        behavior=rises,
        truth={f"mode {s:g}": half_time(s, task.start, config.lr) for s in task.strengths},
        start=row.expand(config.seeds, -1).clone(),
    )


def half_time(strength: float, start: float, lr: float) -> float:
    """Steps until a mode has half its strength (Saxe et al. 2014): a(t) = s / (1 + (s / a0 - 1) exp(-2 s t lr))."""
    return math.log(strength / start - 1) / (2 * strength * lr)


# A network at learning rate zero: every series is constant, and nothing may be found.


@set_up_training.register
def set_up_frozen(task: FrozenTask, config: TransitionConfig) -> Setup:
    digits = load("digits")
    x, test = digits.x_train.flatten(1), digits.x_test.flatten(1)
    return Setup(
        model=build(parse({"kind": "mlp", "sizes": [64, 64, 32, 10]})),
        data=Examples(x, digits.y_train),
        members=[
            Member(seed=s, lr=0.0, batch=32, steps=config.steps)
            for s in spread_seeds(config.seed, config.seeds)
        ],
        probe=Probe(test[: config.rows], digits.y_test[: config.rows], n_rows=config.rows),
    )


# Digits whose labels are drawn anew at every step: the weights move, and there is nothing to learn.

BATCH = 32


@set_up_training.register
def set_up_random_labels(task: RandomLabelsTask, config: TransitionConfig) -> Setup:
    digits = load("digits")
    x, test = digits.x_train.flatten(1), digits.x_test.flatten(1)

    def batch(step: int, member: Member) -> tuple[Tensor, Tensor]:
        draw = start_generator(derive_seed(member.seed, "random labels", step))
        rows = torch.randint(len(x), (BATCH,), generator=draw)
        return x[rows], torch.randint(10, (BATCH,), generator=draw)

    return Setup(
        model=build(parse({"kind": "mlp", "sizes": [64, 64, 32, 10]})),
        data=Stream(batch, per_member=True),
        members=[
            Member(seed=s, lr=config.lr, steps=config.steps) for s in spread_seeds(config.seed, config.seeds)
        ],
        probe=Probe(test[: config.rows], digits.y_test[: config.rows], n_rows=config.rows),
    )
