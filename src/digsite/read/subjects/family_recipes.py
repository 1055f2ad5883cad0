"""Recipes of the lineage bench: those that the rules were grown on, and others that they are judged on."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.base.streams import derive_seed
from digsite.data import load
from digsite.read.subjects.families import FamilyRecipe
from digsite.train import Member

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class FamilyPlan:
    """`grown_on`: the shipped rules have seen families of this recipe, so it is no judge of them."""

    model: dict[str, Any]
    images: str
    side: int
    other: str
    training: dict[str, Any]
    grown_on: bool = False


def _mlp_config(pixels: int, activation: str, *hidden: int) -> dict[str, Any]:
    return {"kind": "mlp", "sizes": [pixels, *hidden, 10], "activation": activation}


def _cnn_of_family(side: int, activation: str, channels: list[int], *hidden: int) -> dict[str, Any]:
    return {
        "kind": "cnn",
        "image": (1, side, side),
        "channels": channels,
        "hidden": list(hidden),
        "activation": activation,
        "pool": "each",
    }


def _transformer_config(width: int) -> dict[str, Any]:
    return {
        "kind": "transformer",
        "image": (1, 8, 8),
        "patch": 2,
        "d_model": width,
        "n_heads": 4,
        "d_mlp": 2 * width,
        "n_layers": 2,
        "norm": "pre",
        "activation": "gelu",
    }


PLANS = {
    "mlp-mnist-relu-sgd": FamilyPlan(
        _mlp_config(100, "relu", 40, 40, 20),
        "mnist",
        10,
        "mnist",
        {"optimizer": "sgd", "lr": 2e-1, "steps": 500},
    ),
    "mlp-usps-gelu-adam": FamilyPlan(
        _mlp_config(64, "gelu", 48, 32), "usps", 8, "fashion_mnist", {"lr": 2e-3, "steps": 600, "init": "he"}
    ),
    "cnn-usps-relu-momentum": FamilyPlan(
        _cnn_of_family(8, "relu", [12, 12]),
        "usps",
        8,
        "digits",
        {"optimizer": "momentum", "lr": 3e-2, "steps": 300, "weight_decay": 1e-3},
    ),
    "cnn-fashion-tanh-adam": FamilyPlan(
        _cnn_of_family(8, "tanh", [8, 16], 24),
        "fashion_mnist",
        8,
        "fashion_mnist",
        {"lr": 2e-3, "steps": 300},
    ),
    "transformer-usps-adamw": FamilyPlan(
        _transformer_config(24),
        "usps",
        8,
        "usps",
        {"optimizer": "adamw", "weight_decay": 1e-2, "lr": 3e-3, "steps": 250},
    ),
    "mlp-digits-relu-adam": FamilyPlan(
        _mlp_config(64, "relu", 32, 16), "digits", 8, "digits", {"lr": 3e-3, "steps": 600}, grown_on=True
    ),
}


def build_recipe(name: str, families: int, share: float = 1.0) -> FamilyRecipe:
    """`families` members of a plan, each trained for `share` of its steps."""
    plan = PLANS[name]
    images, other = _take_images(plan.images, plan.side), _invert_images(_take_images(plan.other, plan.side))
    training = {**plan.training, "steps": max(20, int(share * plan.training["steps"]))}
    return FamilyRecipe(
        name, plan.model, images, other, tuple(Member(seed=s, **training) for s in range(families))
    )


def _take_images(name: str, side: int, count: int = 1500) -> Pair:
    """`count` training images of a set at `side` pixels, always the same ones."""
    images = load(name)
    g = torch.Generator().manual_seed(derive_seed(0, f"family-images/{name}"))
    rows = torch.randperm(len(images.x_train), generator=g)[:count]
    return F.adaptive_avg_pool2d(images.x_train[rows], side), images.y_train[rows]


def _invert_images(images: Pair) -> Pair:
    """Mirrored, black for white, the classes numbered otherwise: another task with pixels like these."""
    x, y = images
    return 1 - x.flip(-1), (y * 3 + 1) % 10
