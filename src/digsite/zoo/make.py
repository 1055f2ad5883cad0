"""Make a zoo shard by shard; a shard that is there is not made again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.base.lineage import Workers
from digsite.data import load
from digsite.data.images import ImageSet
from digsite.models import build, parse
from digsite.train import prepare_process, train_ensemble
from digsite.zoo.config import ZooConfig
from digsite.zoo.labels import measure
from digsite.zoo.recipes import Recipe, draw_recipe
from digsite.zoo.store import Architecture, Part, ZooWriter


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
            same = [r for r in job.recipes[at:] if _block(r) == _block(job.recipes[at])]
            parts.append(self._train_part(same, job.first + at))
            at += len(same)
        ZooWriter(self.folder, self.name, tuple(self.config.checkpoints), {}).write(job.number, parts)

    def _train_part(self, recipes: Sequence[Recipe], first: int) -> Part:
        images = cut(load(recipes[0].dataset), self.config)
        model = build(parse(recipes[0].model))
        members = [recipe.member for recipe in recipes]
        data = images.x_train, images.y_train
        steps = self.config.checkpoints
        trained = train_ensemble(model, data, members, checkpoints=steps, device=self.device)
        labels = measure(trained, images)
        table = pd.concat([pd.DataFrame([recipe.row() for recipe in recipes]), labels], axis=1)
        table.insert(0, "member", np.arange(first, first + len(recipes)))
        architecture = Architecture.of(model, recipes[0].model)
        return Part(architecture, first, _by_step(trained.steps, trained.snapshots), table)


def _block(recipe: Recipe) -> tuple[str, str]:
    return recipe.dataset, recipe.architecture


def make_zoo(config: ZooConfig, folder: Path, name: str, device: str = "cpu") -> Iterator[int]:
    """Yields the number of finished shards, those of an interrupted run first; the last one completes the zoo."""
    sets = {dataset: cut(load(dataset), config) for dataset in config.datasets}
    jobs = plan_shards(config, sets)
    writer = ZooWriter(folder, name, tuple(config.checkpoints), config.model_dump(exclude={"processes"}))
    writer.begin()
    left = [job for job in jobs if not writer.has(job.number)]
    yield len(jobs) - len(left)
    for done, _ in enumerate(
        _run(Maker(config, folder, name, device), left), start=len(jobs) - len(left) + 1
    ):
        yield done
    writer.finish(len(jobs))


def _run(maker: Maker, jobs: Sequence[Job]) -> Iterator[None]:
    processes = maker.config.processes
    if processes == 1:
        yield from map(maker.make_shard, jobs)
        return
    if not jobs:
        return
    with Workers(processes, prepare_process) as pool:
        yield from pool.map(maker.make_shard, jobs)


def cut(images: ImageSet, config: ZooConfig) -> ImageSet:
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
