"""Convolutional networks that classify images. Settings only: nothing here loads torch."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from digsite.config import Config, Field
from digsite.models.configs import Activation, Count, Image, Rate

if TYPE_CHECKING:
    import numpy as np


class CnnConfig(Config):
    """A convolutional network: convolutions, pooling, fully connected layers."""

    kind: Literal["cnn"] = "cnn"
    image: Image = Field((1, 28, 28), description="channels, height, width of the input")
    channels: list[Count] = Field([32, 64], min_length=1, description="output channels of each convolution")
    kernel: Count = Field(3, description="side of the convolution kernels")
    padding: int = Field(1, ge=0, description="zero padding of the convolutions")
    stride: Count = Field(1, description="stride of the convolutions")
    pool: Literal["each", "last", "mean", "none"] = Field(
        "each",
        description="2x2 maximum after each or the last convolution, or the mean over all places at the end",
    )
    hidden: list[Count] = Field([], description="widths of fully connected layers before the output")
    n_classes: Count = Field(10, description="outputs")
    activation: Activation = Field("relu", description="nonlinearity after every layer but the last")
    conv_dropout: Rate = Field(0.0, description="dropout rate after the convolutional part")
    dropout: Rate = Field(0.0, description="dropout rate after each hidden fully connected layer")


class SmallCnnConfig(Config):
    """The network of the Small CNN Zoo (Unterthiner et al. 2020): 4,970 parameters at one input channel."""

    kind: Literal["small_cnn"] = "small_cnn"
    channels_in: Count = Field(1, description="channels of the image")
    width: Count = Field(16, description="channels of each of the three convolutions")
    padding: int = Field(0, ge=0, description="zero padding; 0 as published, 1 for images below 15 pixels")
    n_classes: Count = Field(10, description="outputs")
    activation: Activation = Field("relu", description="nonlinearity after each convolution")
    dropout: Rate = Field(0.0, description="dropout rate after each convolution")


ACTIVATION_CHOICES: tuple[Activation, ...] = ("relu", "gelu", "tanh", "sigmoid", "leaky", "none")


class WildCnnConfig(Config):
    """A convolutional network in the manner of the CNN Wild Park: mixed kernels, activations and skips."""

    kind: Literal["wild_cnn"] = "wild_cnn"
    channels_in: Count = Field(1, description="channels of the image")
    channels: list[Count] = Field(
        [16, 32, 16], min_length=1, description="output channels of each convolution"
    )
    kernels: list[Count] = Field([3, 5, 3], description="kernel side of each convolution, odd")
    strides: list[Count] = Field([2, 2, 1], description="stride of each convolution")
    activations: list[Activation] = Field(["relu", "gelu", "tanh"], description="nonlinearity of each layer")
    skips: list[int | None] = Field(
        [None, None, None],
        description="for each layer, the earlier layer whose output is added to its own, or none",
    )
    n_classes: Count = Field(10, description="outputs")
    dropout: Rate = Field(0.0, description="dropout rate before the output layer")

    @model_validator(mode="after")
    def _check_lists(self) -> "WildCnnConfig":
        """Four lists describe the layers beside each other: each has an entry for every convolution."""
        n = len(self.channels)
        for name in ("kernels", "strides", "activations", "skips"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries for {n} convolutions")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels {self.kernels} are not all odd")
        if any(skip is not None and not 0 <= skip < i for i, skip in enumerate(self.skips)):
            raise ValueError(f"skips {self.skips} do not all point to an earlier layer")
        return self


def sample_wild_cnn(
    rng: "np.random.Generator", channels_in: int = 1, n_classes: int = 10, **fixed: Any
) -> WildCnnConfig:
    """A random member of the park: 2-5 layers, 4-64 channels, kernels 3, 5, 7, a skip into every other layer.

    `rng` is used up in a fixed order, so the same generator state gives the same network; `fixed` are settings
    that are not drawn, such as a dropout rate. Strides shrink twice and then stay: digits of 8 x 8 pixels
    survive it.
    """
    n = int(rng.integers(2, 6))
    skips = [int(rng.integers(i)) if i > 0 and rng.random() < 0.5 else None for i in range(n)]
    drawn = {
        "channels": [int(rng.choice([4, 8, 16, 32, 64])) for _ in range(n)],
        "kernels": [int(rng.choice([3, 5, 7])) for _ in range(n)],
        "strides": [2 if i < 2 else 1 for i in range(n)],
        "activations": [str(rng.choice(ACTIVATION_CHOICES)) for _ in range(n)],
        "skips": skips,
    }
    return WildCnnConfig.model_validate(
        {**drawn, "channels_in": channels_in, "n_classes": n_classes, **fixed}
    )
