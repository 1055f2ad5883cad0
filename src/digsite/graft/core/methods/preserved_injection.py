"""Codes injected where a detector sees the concept, blended with the original features (legacy method 9)."""

import torch
from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.core import injection
from digsite.graft.core.dictionaries import Sae
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    width: int = Field(20, gt=0, description="codes of the autoencoder")
    n_codes: int = Field(4, gt=0, description="most specific donor codes that are kept")
    epochs: int = Field(20, gt=0, description="passes of the autoencoder over the shared images")
    leak: bool = Field(False, description="fit on TEST images of the new class, as published")


def budget(options: Options) -> str:
    return "sabt" if options.leak else "sabF"


def message(options: Options, donor: Side) -> Message:
    return injection.donor_codes(donor, options.width, options.epochs)


class Preserved(injection.Injected):
    concept: Tensor

    def __init__(self, side: Side, sae: Sae, concept: Tensor) -> None:
        super().__init__(side, sae)
        width = len(concept)
        self.register_buffer("concept", concept)
        self.mapper = injection.perceptron(width, width, draw=side.generator("mapper"))
        self.detector = injection.perceptron(width, 16, 1, draw=side.generator("detector"))
        self.keep = nn.Parameter(torch.tensor(0.0))

    def presence(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.detector(z))

    def edit(self, h: Tensor, z: Tensor, p: Tensor) -> Tensor:
        keep = 0.72 + 0.28 * torch.sigmoid(self.keep)  # never less than 0.72 of the original features
        return keep * h + (1 - keep) * self.sae.decode(z + p * self.mapper(self.concept))


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    new = injection.one_class(receiver)
    sae = injection.autoencoder(receiver, options.width, options.epochs)
    model = Preserved(receiver, sae, injection.specific(message, new, receiver.pair.shared, options.n_codes))
    recipe = injection.Recipe(
        steps=60,
        lr=0.005,
        n_old=32,
        n_new=16,
        old_mse=0.6,
        old_ce=0.3,
        old_presence=0.01,
        new_ce=0.1,
        new_presence=0.05,
    )
    return injection.fit(model, receiver, recipe, lambda n: n.startswith(("mapper", "detector", "keep")))
