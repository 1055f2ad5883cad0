"""Make a zoo shard by shard; a shard that is there is not made again."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.base.families import scan_member
from digsite.base.lineage import Workers
from digsite.base.streams import derive_seed
from digsite.data import load
from digsite.data.images import ImageSet
from digsite.models import build, parse
from digsite.train import Trained, attack_success, evaluate, prepare_process, train_ensemble
from digsite.train.member import Backdoor, Member, select_examples
from digsite.zoo.config import FAMILIES, Factors, Range, ZooConfig
from digsite.zoo.store import Architecture, Part, ZooWriter

# One recipe per member, each factor drawn from the member's own stream.

Image = tuple[int, int, int]


@dataclass(frozen=True)
class Recipe:
    """How one network is made.

    `run` is its number, `dataset` and `model` what is trained on what, `member` how. Members of equal dataset
    and shape train as one.
    """

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
    """Recipe `index` of a zoo. Its shape has a stream of its own, shared by all members of that shape;
    activations and the rest are the member's.
    """
    rng = np.random.default_rng(derive_seed(config.seed, "recipe", index))
    factors = config.factors
    activation = _pick_one(rng, factors.activations)
    shape = index % config.architectures if config.architectures else index
    shape_rng = np.random.default_rng(derive_seed(config.seed, "architecture", shape))
    model = scan_member(FAMILIES, config.family).draw_config(shape_rng, activation, image, n_classes)
    return Recipe(index, dataset, model, _draw_member(config, factors, rng, index, image, n_classes))


def _draw_member(
    config: ZooConfig, factors: Factors, rng: np.random.Generator, index: int, image: Image, n_classes: int
) -> Member:
    """Draws are made whether or not they are used, so that one factor's value does not move the others'
    numbers.
    """
    init, optimizer = _pick_one(rng, factors.inits), _pick_one(rng, factors.optimizers)
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
        batch=_pick_one(rng, config.batches),
        steps=config.steps,
        fraction=_pick_one(rng, factors.fractions),
        label_noise=_pick_one(rng, factors.noises) if noisy else 0.0,
        missing=() if lost is None else (lost,),
        backdoor=_draw_backdoor(factors, rng, image, n_classes),
    )


def _draw_backdoor(
    factors: Factors, rng: np.random.Generator, image: Image, n_classes: int
) -> Backdoor | None:
    """A patch that turns an image into class `target`; None where none is planted, after the same draws."""
    planted, target = rng.random() < factors.poison_share, int(rng.integers(n_classes))
    height, width = factors.trigger_size
    row, column = int(rng.integers(image[1] - height + 1)), int(rng.integers(image[2] - width + 1))
    if factors.trigger == "corner":
        row, column = 0, 0
    return Backdoor(target, row, column, height, width, rate=factors.poison_rate) if planted else None


def _pick_one(rng: np.random.Generator, choices: list[Any]) -> Any:
    """Uniform."""
    return choices[int(rng.integers(len(choices)))]


def _log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    """Uniform in the logarithm, between the bounds."""
    return exp(rng.uniform(log(bounds[0]), log(bounds[1])))


@dataclass(frozen=True)
class Job:
    """One shard to make: its number, its recipes in order, and the first member's number."""

    number: int
    recipes: tuple[Recipe, ...]
    first: int


@dataclass(frozen=True)
class Maker:
    """What every shard of one zoo is made with; it travels to other processes."""

    config: ZooConfig
    folder: Path
    name: str
    device: str

    def make_shard(self, job: Job) -> None:
        """Train, measure and store the members of one shard."""
        parts: list[Part] = []
        at = 0
        while at < len(job.recipes):
            same = [r for r in job.recipes[at:] if _block_key(r) == _block_key(job.recipes[at])]
            parts.append(self._train_part(same, job.first + at))
            at += len(same)
        ZooWriter(self.folder, self.name, tuple(self.config.checkpoints), {}).write(job.number, parts)

    def _train_part(self, recipes: Sequence[Recipe], first: int) -> Part:
        images = cut_images(load(recipes[0].dataset), self.config)
        model = build(parse(recipes[0].model))
        members = [recipe.member for recipe in recipes]
        data = images.x_train, images.y_train
        steps = self.config.checkpoints
        trained = train_ensemble(model, data, members, checkpoints=steps, device=self.device)
        labels = measure_members(trained, images)
        table = pd.concat([pd.DataFrame([recipe.row() for recipe in recipes]), labels], axis=1)
        table.insert(0, "member", np.arange(first, first + len(recipes)))
        architecture = Architecture.of(model, recipes[0].model)
        return Part(architecture, first, _by_step(trained.steps, trained.snapshots), table)


def _block_key(recipe: Recipe) -> tuple[str, str]:
    """Members that can be trained as one ensemble."""
    return recipe.dataset, recipe.architecture


def make_zoo(config: ZooConfig, folder: Path, name: str, device: str = "cpu") -> Iterator[int]:
    """Yields the number of finished shards, those of an interrupted run first; the last one completes the zoo."""
    sets = {dataset: cut_images(load(dataset), config) for dataset in config.datasets}
    jobs = plan_shards(config, sets)
    writer = ZooWriter(folder, name, tuple(config.checkpoints), config.model_dump(exclude={"processes"}))
    writer.begin()
    left = [job for job in jobs if not writer.has(job.number)]
    yield len(jobs) - len(left)
    for done, _ in enumerate(
        _run_jobs(Maker(config, folder, name, device), left), start=len(jobs) - len(left) + 1
    ):
        yield done
    writer.finish(len(jobs))


def _run_jobs(maker: Maker, jobs: Sequence[Job]) -> Iterator[None]:
    """Here, or in processes of one thread each; a shard is written by whoever made it."""
    processes = maker.config.processes
    if processes == 1:
        yield from map(maker.make_shard, jobs)
        return
    if not jobs:
        return
    with Workers(processes, prepare_process) as pool:
        yield from pool.map(maker.make_shard, jobs)


def cut_images(images: ImageSet, config: ZooConfig) -> ImageSet:
    """The first `train_size` training and `test_size` test images."""
    has = len(images.x_train), len(images.x_test)
    if config.train_size > has[0] or config.test_size > has[1]:
        asked = f"train_size={config.train_size} and test_size={config.test_size}"
        raise UsageError(f"{asked} are more than '{images.name}' has: {has[0]} and {has[1]}.")
    train, test = slice(config.train_size), slice(config.test_size)
    return replace(
        images,
        x_train=images.x_train[train],
        y_train=images.y_train[train],
        x_test=images.x_test[test],
        y_test=images.y_test[test],
    )


def plan_shards(config: ZooConfig, sets: dict[str, ImageSet]) -> list[Job]:
    """Recipes sorted so that those trained as one matrix are neighbours, cut into shards."""
    recipes = []
    for index in range(config.members):
        dataset = config.datasets[index % len(config.datasets)]
        images = sets[dataset]
        recipes.append(draw_recipe(config, index, dataset, images.image_shape, images.n_classes))
    recipes.sort(
        key=lambda r: (r.dataset, r.architecture, r.member.batch, r.member.optimizer, bool(r.member.dropout))
    )
    starts = range(0, len(recipes), config.shard)
    return [Job(number, tuple(recipes[at : at + config.shard]), at) for number, at in enumerate(starts)]


def _by_step(steps: Sequence[int], snapshots: Tensor) -> dict[int, Tensor]:
    return {step: rows.contiguous() for step, rows in zip(steps, snapshots, strict=True)}


# What is true of the trained members: measured on clean labels, with the noise of each measurement.

BACKDOORED = 0.8  # attack success from which a poisoned member counts as backdoored


def measure_members(trained: Trained, images: ImageSet) -> pd.DataFrame:
    """One row per member: accuracies at every checkpoint, per class, gap, calibration, attack success."""
    ensemble = trained.ensemble
    last = evaluate(ensemble, images.x_test, images.y_test)
    seen = evaluate(ensemble, images.x_train, images.y_train)
    success = attack_success(ensemble, images.x_test, images.y_test)
    accuracy, n_test = _to_floats(last.accuracy), len(images.y_test)
    own = [torch.from_numpy(select_examples(member, images.y_train).rows) for member in ensemble.members]
    # Of the images it was trained on, and by their true labels, whatever it was told.
    fitted = torch.stack([hits[rows].mean() for hits, rows in zip(seen.hits, own, strict=True)])
    columns = {
        "train_accuracy": _to_floats(fitted),
        "test_accuracy": accuracy,
        "generalization_gap": _to_floats(fitted - last.accuracy),
        "test_loss": _to_floats(last.loss),
        "calibration_error": _to_floats(last.calibration_error),
        "n_train": [len(rows) for rows in own],
        "n_test": n_test,
        # What a perfect reader could not know: the binomial error of the accuracy itself.
        "test_accuracy_se": np.sqrt(accuracy * (1 - accuracy) / n_test),
        "attack_success": _to_floats(success),
        "backdoor": _label_backdoor(success),
        "diverged_at": ensemble.diverged_at.cpu().numpy(),
        **{f"class_accuracy_{c}": _to_floats(last.per_class[:, c]) for c in range(last.per_class.shape[1])},
    }
    return pd.DataFrame({**columns, **_measure_course(trained, images), **_summarize_weights(trained)})


def _measure_course(trained: Trained, images: ImageSet) -> dict[str, np.ndarray]:
    """Test accuracy and loss at each checkpoint, where the loss was lowest, and how much it rose after that."""
    scores = [
        evaluate(trained.ensemble, images.x_test, images.y_test, flat=flat) for flat in trained.snapshots
    ]
    named = {
        f"test_accuracy@{step}": _to_floats(s.accuracy) for step, s in zip(trained.steps, scores, strict=True)
    }
    loss = torch.stack([s.loss for s in scores]).nan_to_num(torch.inf)
    best, where = loss.min(0)
    steps = torch.tensor(trained.steps)
    return {
        **named,
        "convergence_step": steps[where.cpu()].numpy(),
        "overfitting": _to_floats((loss[-1] - best) / best),
    }


def _summarize_weights(trained: Trained) -> dict[str, np.ndarray]:
    """Properties that are plain functions of the weights: they show whether a reader reads at all."""
    flat = trained.flat
    return {
        "weight_mean": _to_floats(flat.mean(1)),
        "weight_std": _to_floats(flat.std(1)),
        "sparsity": _to_floats((flat.abs() < 1e-6).float().mean(1)),
    }


def _label_backdoor(success: Tensor) -> list[float]:
    """1 where the attack works, 0 where none was planted, empty where one was planted and did not take."""
    return [0.0 if np.isnan(s) else 1.0 if s > BACKDOORED else np.nan for s in success.tolist()]


def _to_floats(value: Tensor) -> np.ndarray:
    return value.double().cpu().numpy()
