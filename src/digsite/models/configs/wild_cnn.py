"""A convolutional network in the manner of the CNN Wild Park: mixed kernels, activations and skips."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from digsite.config import Config, Field
from digsite.models.vocabulary import Activation, Count, Rate

if TYPE_CHECKING:
    import numpy as np

ACTIVATION_CHOICES: tuple[Activation, ...] = ("relu", "gelu", "tanh", "sigmoid", "leaky", "none")


class WildCnnConfig(Config):
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
    def _agrees(self) -> "WildCnnConfig":
        n = len(self.channels)
        for name in ("kernels", "strides", "activations", "skips"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries for {n} convolutions")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels {self.kernels} are not all odd")
        if any(skip is not None and not 0 <= skip < i for i, skip in enumerate(self.skips)):
            raise ValueError(f"skips {self.skips} do not all point to an earlier layer")
        return self


def sample(
    rng: "np.random.Generator", channels_in: int = 1, n_classes: int = 10, **fixed: Any
) -> WildCnnConfig:
    """A random member of the park: 2-5 layers, 4-64 channels, kernels 3, 5, 7, a skip into every other layer."""
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
