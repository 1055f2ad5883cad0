"""Everything one operation needs, made from a config: images split, couples trained or read back, scorers."""

from dataclasses import dataclass, field, replace

import torch
from torch import nn

from digsite.data import ImageSet, load
from digsite.graft.config import TaskConfig
from digsite.graft.core.access import ImagePools, Lens
from digsite.graft.core.pair import Pair
from digsite.graft.core.task import Classes, ImageSplit, Scorer, check_knowledge, make_pools, split_images
from digsite.graft.subjects.couples import (
    PARTS,
    TrainingRecipe,
    collect_states,
    rebuild_couple,
    rebuild_network,
    train_blind_donor,
    train_couple,
)
from digsite.weights.writer import read_or_compute


@dataclass(frozen=True)
class Theatre:
    """One couple of one seed with its data."""

    names: tuple[str, str]
    seed: int
    data: ImageSplit
    classes: Classes
    pair: Pair
    pools: ImagePools
    scorer: Scorer
    validation: Scorer
    blind: nn.Module | None = None  # a donor of the same recipe that never saw the new class
    lens: Lens = field(default_factory=Lens)


def open_theatre(config: TaskConfig, names: tuple[str, str], seed: int) -> Theatre:
    """Loads, splits, trains (or reads from the cache) and checks that each side knows what it should."""
    images = cut_images_per_class(load(config.data), config.max_train, config.max_test)
    data = split_images(images, seed, config.held)
    classes = Classes(tuple(config.old), tuple(config.shared), tuple(config.new), tuple(config.foreign))
    pair, blind = _train_or_read(config, names, seed, data, classes)
    scorer = Scorer(data, classes, rate=config.rate)
    validation = Scorer(data, classes, rate=config.rate, validation=True)
    check_knowledge(validation, pair.receiver, pair.donor)
    return Theatre(names, seed, data, classes, pair, make_pools(data, classes), scorer, validation, blind)


def with_common_start(config: TaskConfig, room: Theatre) -> Theatre:
    """The same with both networks fine-tuned from one, on the same images."""
    pair, _ = _train_or_read(config, room.names, room.seed, room.data, room.classes, common_start=True)
    return replace(room, pair=pair, lens=Lens())


def _train_or_read(
    config: TaskConfig,
    names: tuple[str, str],
    seed: int,
    data: ImageSplit,
    classes: Classes,
    *,
    common_start: bool = False,
) -> tuple[Pair, nn.Module | None]:
    """The couple, and a donor that never saw the class, from the store or trained now."""
    recipe = TrainingRecipe(config.epochs, config.batch, config.lr, config.weight_decay, config.least_steps)
    named = {
        "data": config.data,
        "max_train": config.max_train,
        "held": config.held,
        "seed": seed,
        "names": names,
        "classes": [classes.old, classes.shared, classes.new, classes.foreign],
        "recipe": vars(recipe),
        "common_start": PARTS if common_start else False,
        "blind": not common_start,
    }

    def compute() -> dict[str, dict[str, torch.Tensor]]:
        states = collect_states(train_couple(names, data, classes, seed, recipe, common_start=common_start))
        if common_start:
            return states
        return states | {"blind": dict(train_blind_donor(names[1], data, classes, seed, recipe).state_dict())}

    stored = read_or_compute(named, compute, "graft")
    pair = rebuild_couple(names, data, classes, stored)
    return pair, rebuild_network(names[1], data, stored["blind"]) if "blind" in stored else None


def cut_images_per_class(images: ImageSet, per_class: int, tested: int = 0) -> ImageSet:
    """The first `per_class` training images of each class and the first `tested` test images; 0 leaves them whole."""
    for part, most in (("train", per_class), ("test", tested)):
        if most:
            y = getattr(images, f"y_{part}")
            keep = torch.cat([(y == c).nonzero()[:most, 0] for c in range(images.n_classes)]).sort().values
            cut = {f"x_{part}": getattr(images, f"x_{part}")[keep], f"y_{part}": y[keep]}
            images = replace(images, **cut)
    return images


def name_pair(names: tuple[str, str]) -> str:
    """How a pair is called in claims and tables."""
    return names[0] if names[0] == names[1] else f"{names[0]}_from_{names[1]}"
