"""The networks of the task by name, and how a receiver and a donor of them are trained."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from digsite.base.errors import NotFound, name_nearest
from digsite.base.streams import derive_seed
from digsite.config import Config
from digsite.graft.config import CNNS, MLPS, NETWORKS
from digsite.graft.core.access import LabelledImages
from digsite.graft.core.pair import Pair
from digsite.graft.core.task import Classes, ImageSplit
from digsite.models import build
from digsite.models.configs.convolutional import CnnConfig
from digsite.models.configs.dense import MlpConfig
from digsite.models.configs.sequence import TransformerConfig
from digsite.train import Member, train_ensemble

PARTS = (0.5, 0.25)  # of the time: a common start, and each fine-tuning of it, which should stay near


@dataclass(frozen=True)
class TrainingRecipe:
    """How a network is trained; `least` steps are taken however few the images."""

    epochs: float = 8
    batch: int = 256
    lr: float = 1e-3
    weight_decay: float = 1e-4
    least: int = 400

    def shorten(self, share: float) -> "TrainingRecipe":
        """The same for a share of the time."""
        return replace(self, epochs=share * self.epochs, least=max(1, round(share * self.least)))


def find_network(name: str, image: tuple[int, ...], n_classes: int) -> Config:
    """The config of a network by its published name, for images of shape `image` (channels, height, width)."""
    if name in MLPS:
        hidden = MLPS[name]
        sizes = [image[0] * image[1] * image[2], *hidden, n_classes]
        return MlpConfig.model_validate(
            {"sizes": sizes, "dropout": 0.2, "dropout_layers": max(0, len(hidden) - 1)}
        )
    if name in CNNS:
        channels, hidden = CNNS[name]
        shape = {"image": image, "channels": channels, "padding": 0, "pool": "last", "hidden": hidden}
        return CnnConfig.model_validate(
            {**shape, "n_classes": n_classes, "conv_dropout": 0.25, "dropout": 0.5}
        )
    if name == "transformer":
        return TransformerConfig.model_validate(
            {"image": image, "patch": image[1] // 4, "n_classes": n_classes}
        )
    raise NotFound(f"There is no network '{name}'.", hint=name_nearest(name, NETWORKS))


def train_network(
    config: Config, images: LabelledImages, seed: int, recipe: TrainingRecipe, start: nn.Module | None = None
) -> nn.Module:
    """One network of `config` on these images by `recipe`, from the initial weights of `seed` or from `start`."""
    steps = max(recipe.least, round(recipe.epochs * len(images) / recipe.batch))
    member = Member(
        seed=seed,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        batch=min(recipe.batch, len(images)),
        steps=steps,
    )
    origin = None if start is None else dict(start.named_parameters())
    trained = train_ensemble(build(config, seed), (images.x, images.y), [member], start=origin)
    return trained.ensemble.module(0).requires_grad_(False).eval()


def train_couple(
    names: tuple[str, str],
    data: ImageSplit,
    classes: Classes,
    seed: int,
    recipe: TrainingRecipe,
    *,
    common_start: bool = False,
) -> Pair:
    """Receiver and donor of this seed, trained on what each of them owns.

    `names`: of receiver and donor. `common_start`: both are tuned from one network of the receiver's shape, trained on
    classes that neither of them owns, since merges by task vectors need one.
    """
    shape = tuple(data.train.x.shape[1:])
    n_classes = int(data.train.y.max()) + 1
    configs = [find_network(name, shape, n_classes) for name in names]
    start = None
    if common_start:
        known = {*classes.old, *classes.donor}
        rest = tuple(int(c) for c in data.train.y.unique() if int(c) not in known)
        first, recipe = (recipe.shorten(share) for share in PARTS)
        start = train_network(
            configs[0], data.train.of_classes(rest), derive_seed(seed, "graft/start"), first
        )
    owned = [data.train.of_classes(classes.old), data.train.of_classes(classes.donor)]
    nets = [
        train_network(config, images, derive_seed(seed, f"graft/{role}"), recipe, start)
        for config, images, role in zip(configs, owned, ("receiver", "donor"))
    ]
    return Pair(nets[1], nets[0], classes.old, classes.shared, classes.new, classes.foreign, start=start)


def train_blind_donor(
    name: str, data: ImageSplit, classes: Classes, seed: int, recipe: TrainingRecipe
) -> nn.Module:
    """A donor of the same shape, images and recipe, except that it never saw the new class: a null for every method."""
    shape, n_classes = tuple(data.train.x.shape[1:]), int(data.train.y.max()) + 1
    known = tuple(c for c in classes.donor if c not in classes.new)
    return train_network(
        find_network(name, shape, n_classes),
        data.train.of_classes(known),
        derive_seed(seed, "graft/blind"),
        recipe,
    )


def rebuild_network(name: str, data: ImageSplit, state: dict[str, torch.Tensor]) -> nn.Module:
    """A network of this name from stored weights."""
    made = build(find_network(name, tuple(data.train.x.shape[1:]), int(data.train.y.max()) + 1)).eval()
    made.load_state_dict(state)
    return made.requires_grad_(False)


def rebuild_couple(
    names: tuple[str, str], data: ImageSplit, classes: Classes, states: dict[str, dict[str, torch.Tensor]]
) -> Pair:
    """The same couple from stored weights."""
    shape = tuple(data.train.x.shape[1:])
    n_classes = int(data.train.y.max()) + 1
    nets: dict[str, nn.Module] = {}
    for role, name in zip(("receiver", "donor"), names):
        nets[role] = build(find_network(name, shape, n_classes)).eval()
        nets[role].load_state_dict(states[role])
        nets[role].requires_grad_(False)
    start = None
    if "start" in states:
        start = build(find_network(names[0], shape, n_classes)).eval()
        start.load_state_dict(states["start"])
    return Pair(
        nets["donor"],
        nets["receiver"],
        classes.old,
        classes.shared,
        classes.new,
        classes.foreign,
        start=start,
    )


def collect_states(pair: Pair) -> dict[str, dict[str, torch.Tensor]]:
    """Weights by role and name, for the store."""
    networks = {"receiver": pair.receiver, "donor": pair.donor, "start": pair.start}
    return {role: dict(net.state_dict()) for role, net in networks.items() if net is not None}
