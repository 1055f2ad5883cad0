"""The donor's code rotated into the receiver's and added in its least used directions (legacy method 10)."""

import torch
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.core import injection
from digsite.graft.core.dictionaries import Sae
from digsite.graft.core.maps import rotation
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    width: int = Field(24, gt=0, description="codes of the autoencoder")
    epochs: int = Field(20, gt=0, description="passes of the autoencoder over the shared images")
    as_published: bool = Field(False, description="apply the rotation transposed, as the original did")
    leak: bool = Field(False, description="fit on TEST images of the new class, as published")


def budget(options: Options) -> str:
    return "sabt" if options.leak else "sabF"


def message(options: Options, donor: Side) -> Message:
    return injection.donor_codes(donor, options.width, options.epochs)


class FreeSpace(injection.Injected):
    place: Tensor
    free: Tensor

    def __init__(self, side: Side, sae: Sae, place: Tensor, free: Tensor) -> None:
        super().__init__(side, sae)
        self.register_buffer("place", place)
        self.register_buffer("free", free)
        self.offset = nn.Parameter(torch.zeros_like(place))
        self.strength = nn.Parameter(torch.tensor(0.3))
        self.keep = nn.Parameter(torch.tensor(0.9))
        self.detector = injection.perceptron(len(place), 16, 1, draw=side.generator("detector"))

    def presence(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.detector(z))

    def edit(self, h: Tensor, z: Tensor, p: Tensor) -> Tensor:
        push = (self.place + self.offset) @ self.free.T @ self.free
        keep = torch.sigmoid(self.keep)
        return keep * h + (1 - keep) * self.sae.decode(z + self.strength * p * push)


def turned(options: Options, receiver: Side, sae: Sae, message: Message) -> Tensor:
    """The donor's mean new code in the receiver's code space."""
    mine = injection.codes(receiver, sae, receiver.access.shared(injection.N_SHARED))
    turn = rotation(message.tensors["shared"], mine, centered=False).weight
    return (turn.T if options.as_published else turn) @ message.tensors[
        f"center/{injection.one_class(receiver)}"
    ]


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    sae = injection.autoencoder(receiver, options.width, options.epochs)
    old = injection.codes(receiver, sae, receiver.access.old(4000))
    free = injection.free_space(old, min(8, options.width // 3))
    model = FreeSpace(receiver, sae, turned(options, receiver, sae, message), free)
    recipe = injection.Recipe(
        steps=40, lr=0.008, n_old=32, n_new=24, old_mse=0.7, old_ce=0.3, new_ce=0.15, new_presence=0.05
    )
    return injection.fit(
        model, receiver, recipe, lambda n: n.startswith(("offset", "strength", "keep", "detector"))
    )
