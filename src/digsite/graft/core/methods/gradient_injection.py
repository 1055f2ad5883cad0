"""The new class's codes sent through a mapper into every input (legacy method 8): all becomes the new class."""

from torch import Tensor, nn

from digsite.config import Config, Field
from digsite.graft.core import injection
from digsite.graft.core.dictionaries import Sae
from digsite.graft.core.pair import Message, Side

SAME_SHAPE = False


class Options(Config):
    width: int = Field(20, gt=0, description="codes of the autoencoder")
    n_codes: int = Field(8, gt=0, description="most specific donor codes that are kept")
    epochs: int = Field(20, gt=0, description="passes of the autoencoder over the shared images")
    leak: bool = Field(False, description="fit on TEST images of the new class, as published")


def budget(options: Options) -> str:
    return "sbt" if options.leak else "sbF"


def message(options: Options, donor: Side) -> Message:
    return injection.donor_codes(donor, options.width, options.epochs)


class Everywhere(injection.Injected):
    def __init__(self, side: Side, sae: Sae, concept: Tensor) -> None:
        super().__init__(side, sae)
        width = len(concept)
        self.register_buffer("concept", concept)
        self.mapper = injection.perceptron(width, width, width, draw=side.generator("mapper"))

    def presence(self, z: Tensor) -> Tensor:
        return z.new_ones(len(z), 1)

    def edit(self, h: Tensor, z: Tensor, p: Tensor) -> Tensor:
        return self.sae.decode(z + p * self.mapper(self.concept))


def apply(options: Options, receiver: Side, message: Message) -> nn.Module:
    new = injection.one_class(receiver)
    sae = injection.autoencoder(receiver, options.width, options.epochs)
    concept = injection.specific(message, new, receiver.pair.shared, options.n_codes)
    model = Everywhere(receiver, sae, concept)
    recipe = injection.Recipe(steps=50, lr=0.01, n_old=0, n_new=32, new_ce=1.0, new_kl=0.1)
    return injection.fit(model, receiver, recipe, lambda name: name.startswith("mapper"))
