"""Networks of many classes, clean and with a backdoor planted, for scanners that look at the last layers.

Ten classes are too few to tell an outlier among them. Image sets are therefore put side by side: the digits of one, the
clothes of another, and the digits of a third are thirty classes of one network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.base.streams import derive_seed
from digsite.data import load
from digsite.models import build, parse
from digsite.train import Backdoor, Ensemble, Member


@dataclass(frozen=True)
class JoinedImages:
    """Images (n, 1, side, side) and labels of all sets, those of later sets counted on."""

    x: Tensor
    y: Tensor
    n_classes: int


@dataclass(frozen=True)
class PlantedZoo:
    """`target` is -1 for clean networks. `tensors` are stacked over members; `success` is measured with the trigger."""

    recipe: str
    tensors: dict[str, Tensor]
    target: np.ndarray
    accuracy: np.ndarray
    success: np.ndarray


def join_sets(
    names: Sequence[str], side: int, per_set: int, seed: int, *, held_out: bool = False
) -> JoinedImages:
    """`per_set` images of each set (of its test part if `held_out`), brought to one size by averaging or interpolation."""
    xs, ys, first = [], [], 0
    for name in names:
        images = load(name)
        g = torch.Generator().manual_seed(derive_seed(seed, f"images/{name}"))
        pixels, labels = (images.x_test, images.y_test) if held_out else (images.x_train, images.y_train)
        rows = torch.randperm(len(pixels), generator=g)[:per_set]
        x = pixels[rows]
        larger = x.shape[-1] >= side
        xs.append(
            F.adaptive_avg_pool2d(x, side) if larger else F.interpolate(x, (side, side), mode="bilinear")
        )
        ys.append(labels[rows] + first)
        first += images.n_classes
    return JoinedImages(torch.cat(xs), torch.cat(ys), first)


def plant_members(members: Sequence[Member], n_classes: int, side: int, seed: int) -> list[Member]:
    """Every second member gets a trigger of its own: target, place, size, brightness and rate are drawn."""
    out = []
    for number, member in enumerate(members):
        rng = np.random.default_rng(derive_seed(seed, "trigger", number))
        height, width = (int(v) for v in rng.integers(2, 4, 2))
        planted = Backdoor(
            target=int(rng.integers(n_classes)),
            row=int(rng.integers(side - height + 1)),
            column=int(rng.integers(side - width + 1)),
            height=height,
            width=width,
            value=float(rng.choice([0.6, 1.0])),
            rate=float(rng.choice([0.05, 0.1, 0.2])),
        )
        out.append(replace(member, backdoor=planted) if number % 2 else member)
    return out


def make_planted_zoo(
    name: str, model: dict, images: JoinedImages, members: Sequence[Member], seed: int
) -> PlantedZoo:
    """Train clean and poisoned networks of one architecture side by side, and measure both kinds of success.

    `model` lacks its image and number of classes, which `images` give; `seed` draws the triggers.
    """
    side = images.x.shape[-1]
    planted = plant_members(members, images.n_classes, side, seed)
    ensemble = Ensemble(
        build(parse({**model, "n_classes": images.n_classes, "image": (1, side, side)})),
        (images.x, images.y),
        planted,
    )
    while not ensemble.done:
        ensemble.step()
    sample = images.x[:: max(1, len(images.x) // 500)]
    labels = images.y[:: max(1, len(images.x) // 500)]
    accuracy = (ensemble.forward(sample).argmax(-1) == labels).double().mean(1).numpy()
    success = np.full(len(planted), np.nan)
    for i, member in enumerate(planted):
        if member.backdoor is not None:
            b, x = member.backdoor, sample.clone()
            x[..., b.row : b.row + b.height, b.column : b.column + b.width] = b.value
            success[i] = float((ensemble.forward_one(i, x).argmax(-1) == b.target).double().mean())
    target = np.array([m.backdoor.target if m.backdoor else -1 for m in planted])
    return PlantedZoo(name, ensemble.params, target, accuracy, success)


@dataclass(frozen=True)
class PlantedPlan:
    """A recipe of the scanner's bench: an architecture without its image and classes, and how its members train."""

    model: dict[str, Any]
    training: dict[str, Any]

    @property
    def in_words(self) -> str:
        """`channels [12, 12], hidden [64], gelu; momentum, lr 0.0157, 652 steps`."""
        net, how = self.model, self.training
        decay = f", decay {how['weight_decay']:.3g}" if how.get("weight_decay") else ""
        shape = f"channels {net['channels']}, hidden {net['hidden']}, {net['activation']}"
        return f"{shape}; {how.get('optimizer', 'adam')}, lr {how['lr']:.3g}{decay}, {how['steps']} steps"


def _planted_cnn(channels: list[int], hidden: list[int], activation: str = "relu") -> dict[str, Any]:
    return {"kind": "cnn", "channels": channels, "hidden": hidden, "activation": activation, "pool": "each"}


PLANS = {
    "relu-adam": PlantedPlan(_planted_cnn([8, 16], [32]), {"lr": 3e-3, "steps": 500}),
    "relu-momentum": PlantedPlan(
        _planted_cnn([8, 16], [48]), {"optimizer": "momentum", "lr": 3e-2, "steps": 600}
    ),
    "no-hidden-adam": PlantedPlan(_planted_cnn([12, 24], []), {"lr": 3e-3, "steps": 500}),
    "tanh-adamw": PlantedPlan(
        _planted_cnn([8, 16], [32], "tanh"),
        {"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1e-2, "steps": 500},
    ),
    "relu-rmsprop": PlantedPlan(
        _planted_cnn([10, 12], [40]), {"optimizer": "rmsprop", "lr": 1e-3, "weight_decay": 1e-4, "steps": 500}
    ),
    "gelu-momentum": PlantedPlan(
        _planted_cnn([8, 12], [64], "gelu"),
        {"optimizer": "momentum", "lr": 2e-2, "weight_decay": 1e-3, "steps": 600},
    ),
}


def draw_plan(seed: int, number: int) -> PlantedPlan:
    """Recipe `number` of a series that nobody chose: shape, activation, optimizer, rate and decay follow from `seed`.

    Rates are log-uniform around what each optimizer usually takes, so that some of the networks learn badly: a scanner
    that is used on strangers meets those too.
    """
    rng = np.random.default_rng(derive_seed(seed, "drawn-recipe", number))
    rates = {"adam": 2e-3, "adamw": 2e-3, "rmsprop": 1e-3, "momentum": 2e-2, "sgd": 2e-1}
    optimizer = str(rng.choice(list(rates)))
    first, width = int(rng.choice([6, 8, 10, 12])), int(rng.choice([0, 24, 32, 48, 64]))
    model = _planted_cnn(
        [first, int(rng.choice([first, 2 * first]))],
        [width] if width else [],
        str(rng.choice(["relu", "gelu", "tanh"])),
    )
    training = {
        "optimizer": optimizer,
        "lr": rates[optimizer] * 2.0 ** float(rng.uniform(-1, 1)),
        "weight_decay": float(rng.choice([0.0, 1e-4, 1e-3, 1e-2])),
        "steps": int(rng.integers(400, 701)),
    }
    return PlantedPlan(model, training)


def members_of(plan: PlantedPlan, count: int, share: float = 1.0) -> list[Member]:
    """`count` members of a plan that differ by their seed, each trained for `share` of its steps."""
    training = {**plan.training, "steps": max(10, int(share * plan.training["steps"]))}
    return [Member(seed=s, **training) for s in range(count)]
