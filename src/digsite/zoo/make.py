"""Make a zoo shard by shard; a shard that is there is not made again."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from digsite.base.errors import UsageError
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


def make_zoo(config: ZooConfig, folder: Path, name: str) -> Iterator[int]:
    """Yields the number of finished shards, those of an interrupted run first; the last one completes the zoo."""
    sets = {dataset: cut(load(dataset), config) for dataset in config.datasets}
    jobs = plan_shards(config, sets)
    writer = ZooWriter(folder, name, tuple(config.checkpoints), config.model_dump(exclude={"processes"}))
    writer.begin()
    left = [job for job in jobs if not writer.has(job.number)]
    yield len(jobs) - len(left)
    for done, _ in enumerate(_run(config, left, folder, name), start=len(jobs) - len(left) + 1):
        yield done
    writer.finish(len(jobs))


def _run(config: ZooConfig, jobs: Sequence[Job], folder: Path, name: str) -> Iterator[None]:
    if config.processes == 1:
        for job in jobs:
            yield make_shard(config, job, folder, name)
        return
    if not jobs:
        return
    # Spawned, not forked: a forked PyTorch may wait for a lock that no thread of the child holds.
    with ProcessPoolExecutor(config.processes, get_context("spawn"), initializer=prepare_process) as pool:
        yield from pool.map(make_shard, *zip(*((config, job, folder, name) for job in jobs), strict=True))


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


def make_shard(config: ZooConfig, job: Job, folder: Path, name: str) -> None:
    """Train, measure and store the members of one shard."""
    parts: list[Part] = []
    at = 0
    while at < len(job.recipes):
        same = [r for r in job.recipes[at:] if _block(r) == _block(job.recipes[at])]
        parts.append(_train_part(config, same, job.first + at))
        at += len(same)
    ZooWriter(folder, name, tuple(config.checkpoints), {}).write(job.number, parts)


def _block(recipe: Recipe) -> tuple[str, str]:
    return recipe.dataset, recipe.architecture


def _train_part(config: ZooConfig, recipes: Sequence[Recipe], first: int) -> Part:
    images = cut(load(recipes[0].dataset), config)
    model = build(parse(recipes[0].model))
    members = [recipe.member for recipe in recipes]
    trained = train_ensemble(model, (images.x_train, images.y_train), members, checkpoints=config.checkpoints)
    labels = measure(trained, images)
    table = pd.concat([pd.DataFrame([recipe.row() for recipe in recipes]), labels], axis=1)
    table.insert(0, "member", np.arange(first, first + len(recipes)))
    return Part(
        Architecture.of(model, recipes[0].model), first, _by_step(trained.steps, trained.snapshots), table
    )


def _by_step(steps: Sequence[int], snapshots: Tensor) -> dict[int, Tensor]:
    return {step: rows.contiguous() for step, rows in zip(steps, snapshots, strict=True)}
