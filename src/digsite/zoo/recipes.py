"""One recipe per member, each factor drawn from the member's own stream."""

import json
from dataclasses import asdict, dataclass
from math import exp, log
from typing import Any

import numpy as np

from digsite.base.families import scan_family
from digsite.base.streams import derive_seed
from digsite.train.member import Backdoor, Member
from digsite.zoo.config import FAMILIES, Factors, Range, ZooConfig

Image = tuple[int, int, int]


@dataclass(frozen=True)
class Recipe:
    """How one network is made."""

    run: int
    dataset: str
    model: dict[str, Any]
    member: Member

    @property
    def architecture(self) -> str:
        return json.dumps(self.model, sort_keys=True)

    def row(self) -> dict[str, Any]:
        """Its columns in the table of the zoo."""
        member = asdict(self.member)
        patch = member.pop("backdoor") or {"target": -1, "row": -1, "column": -1, "rate": 0.0}
        missing = member.pop("missing")
        names = ("seed", "init", "init_scale", "optimizer", "lr", "weight_decay", "dropout", "batch", "steps")
        return {
            "run": self.run,
            "dataset": self.dataset,
            "kind": self.model["kind"],
            "activation": self.model.get("activation", "mixed" if "activations" in self.model else "tanh"),
            **{name: member[name] for name in (*names, "fraction", "label_noise")},
            "missing_class": missing[0] if missing else -1,
            "poisoned": self.member.backdoor is not None,
            **{f"trigger_{name}": patch[name] for name in ("target", "row", "column", "rate")},
        }


def draw_recipe(config: ZooConfig, index: int, dataset: str, image: Image, n_classes: int) -> Recipe:
    rng = np.random.default_rng(derive_seed(config.seed, "recipe", index))
    factors = config.factors
    activation = _pick(rng, factors.activations)
    shape = index % config.architectures if config.architectures else index
    shape_rng = np.random.default_rng(derive_seed(config.seed, "architecture", shape))
    model = scan_family(FAMILIES)[config.family].draw(shape_rng, activation, image, n_classes)
    return Recipe(index, dataset, model, _member(config, factors, rng, index, image, n_classes))


def _member(
    config: ZooConfig, factors: Factors, rng: np.random.Generator, index: int, image: Image, n_classes: int
) -> Member:
    init, optimizer = _pick(rng, factors.inits), _pick(rng, factors.optimizers)
    normal = init in ("normal", "truncated_normal")
    lost = int(rng.integers(n_classes)) if rng.random() < factors.missing_share else None
    noisy, dropped = rng.random() < factors.noise_share, rng.random() < factors.dropout_share
    return Member(
        seed=derive_seed(config.seed, "member", index),
        init=init,
        init_scale=_log_uniform(rng, factors.init_std) if normal else 1.0,
        optimizer=optimizer,
        lr=_log_uniform(rng, getattr(factors.rates, optimizer)),
        weight_decay=_log_uniform(rng, factors.weight_decay),
        dropout=float(rng.uniform(*factors.dropout)) if dropped else 0.0,
        batch=_pick(rng, config.batches),
        steps=config.steps,
        fraction=_pick(rng, factors.fractions),
        label_noise=_pick(rng, factors.noises) if noisy else 0.0,
        missing=() if lost is None else (lost,),
        backdoor=_backdoor(factors, rng, image, n_classes),
    )


def _backdoor(factors: Factors, rng: np.random.Generator, image: Image, n_classes: int) -> Backdoor | None:
    planted, target = rng.random() < factors.poison_share, int(rng.integers(n_classes))
    height, width = factors.trigger_size
    row, column = int(rng.integers(image[1] - height + 1)), int(rng.integers(image[2] - width + 1))
    if factors.trigger == "corner":
        row, column = 0, 0
    return Backdoor(target, row, column, height, width, rate=factors.poison_rate) if planted else None


def _pick(rng: np.random.Generator, choices: list[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    return exp(rng.uniform(log(bounds[0]), log(bounds[1])))
