"""The published 87.4 / 97.2: a place for the new class beside the shared ones, codes pulled towards it (legacy 12)."""

import torch
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.core import injection
from digsite.graft.core.dictionaries import Sae
from digsite.graft.core.maps import rotation
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    width: int = Field(28, gt=0, description="codes of the autoencoder")
    epochs: int = Field(25, gt=0, description="passes of the autoencoder over the shared images")
    steps: int = Field(50, gt=0, description="steps of the fit")
    as_published: bool = Field(False, description="apply the rotation transposed, as the original did")
    leak: bool = Field(False, description="fit on TEST images of the new class, as published")
    without_new: bool = Field(False, description="control: no image of the new class in the fit")


def budget(options: Options) -> str:
    return "sab" if options.without_new else ("sabt" if options.leak else "sabF")


def message(options: Options, donor: Side) -> Message:
    return injection.donor_codes(donor, options.width, options.epochs)


class Spatial(injection.Injected):
    place: Tensor
    near: Tensor
    free: Tensor

    def __init__(self, side: Side, sae: Sae, place: Tensor, near: Tensor, free: Tensor) -> None:
        super().__init__(side, sae)
        for name, value in (("place", place), ("near", near), ("free", free)):
            self.register_buffer(name, value)
        self.offset = nn.Parameter(torch.zeros_like(place))
        self.strength = nn.Parameter(torch.tensor(1.0))
        self.keep = nn.Parameter(torch.tensor(0.75))
        self.detector = injection.perceptron(len(place), 32, 16, 1, draw=side.generator("detector"))

    def presence(self, z: Tensor) -> Tensor:
        closeness = (-torch.cdist(z, self.near) / 5).exp().amax(1, keepdim=True)
        return 0.4 * closeness + 0.6 * torch.sigmoid(self.detector(z))

    def edit(self, h: Tensor, z: Tensor, p: Tensor) -> Tensor:
        pull = self.place + self.offset - z
        moved = (
            z + 0.7 * self.strength * p * pull + 0.15 * self.strength * p * (pull @ self.free.T @ self.free)
        )
        keep = torch.sigmoid(self.keep) * (1 - p) + 0.2 * p
        return keep * h + (1 - keep) * self.sae.decode(moved)


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    new = injection.one_class(receiver)
    published = injection.autoencoder(receiver, options.width, options.epochs)
    sae = Sae(
        published.spec, {k: v[0] for k, v in published.stacked().items()}, published.scale
    )  # it is trained on
    shared = receiver.access.shared(injection.N_SHARED)
    turn = rotation(message.tensors["shared"], injection.codes(receiver, sae, shared), centered=False).weight
    turn = turn.T if options.as_published else turn
    mine = injection.centers(receiver, sae)
    theirs = {c: message.tensors[f"center/{c}"] for c in (*mine, new)}
    place = torch.stack([center + turn @ (theirs[new] - theirs[c]) for c, center in mine.items()]).mean(0)
    free = injection.free_space(injection.codes(receiver, sae, receiver.access.old(4000)), options.width // 4)
    model = Spatial(receiver, sae, place, torch.stack(list(mine.values())), free)
    if options.without_new:
        return model.requires_grad_(False)
    recipe = injection.Recipe(
        steps=options.steps,
        lr=0.012,
        n_old=32,
        n_new=20,
        old_mse=0.6,
        old_ce=0.4,
        new_ce=0.3,
        new_presence=0.1,
    )
    return injection.fit(model, receiver, recipe, lambda name: not name.startswith("base"))
