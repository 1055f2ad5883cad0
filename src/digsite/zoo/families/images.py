"""Networks that classify images, from a fully connected one to a transformer on patches."""

from math import prod
from typing import Any

import numpy as np

from digsite.models.configs.convolutional import sample_wild_cnn
from digsite.zoo.families import NetworkKind

HIDDEN = (32, 16)
CHANNELS = (4, 8, 16)  # of the published 4 to 64: what two cores train by the hundred


class MlpKind(NetworkKind):
    """Fully connected networks with two hidden layers, 64-32-16-10 on the bundled digits."""

    NAME = "mlp"

    @staticmethod
    def draw_config(
        rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
    ) -> dict[str, Any]:
        return {"kind": "mlp", "sizes": [prod(image), *HIDDEN, n_classes], "activation": activation}


class MixedMlpKind(NetworkKind):
    """Fully connected networks of one to three hidden layers of 16 to 64 neurons."""

    NAME = "mixed_mlp"

    @staticmethod
    def draw_config(
        rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
    ) -> dict[str, Any]:
        hidden = [int(rng.choice([16, 32, 64])) for _ in range(int(rng.integers(1, 4)))]
        return {"kind": "mlp", "sizes": [prod(image), *hidden, n_classes], "activation": activation}


class SmallCnnKind(NetworkKind):
    """The Small CNN: three convolutions of 16 channels, 4,970 parameters at one input channel."""

    NAME = "small_cnn"

    @staticmethod
    def draw_config(
        rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
    ) -> dict[str, Any]:
        channels, height, width = image
        padding = int(min(height, width) < 15)  # smaller images would shrink to nothing
        fixed = {"kind": "small_cnn", "channels_in": channels, "n_classes": n_classes, "padding": padding}
        return {**fixed, "activation": activation}


class WildCnnKind(NetworkKind):
    """Convolutional networks of mixed depths, widths, kernels, activations and skips."""

    NAME = "wild_cnn"

    @staticmethod
    def draw_config(
        rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
    ) -> dict[str, Any]:
        drawn = sample_wild_cnn(rng, channels_in=image[0], n_classes=n_classes)
        channels = [int(rng.choice(CHANNELS)) for _ in drawn.channels]
        return drawn.model_copy(update={"channels": channels}).model_dump()


class TransformerKind(NetworkKind):
    """Small transformer encoders on image patches, of width 16 or 32 and one or two blocks."""

    NAME = "transformer"

    @staticmethod
    def draw_config(
        rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
    ) -> dict[str, Any]:
        width = int(rng.choice([16, 32]))
        return {
            "kind": "transformer",
            "image": list(image),
            "patch": _choose_patch(image[1], image[2]),
            "d_model": width,
            "n_heads": int(rng.choice([2, 4])),
            "d_mlp": 2 * width,
            "n_layers": int(rng.choice([1, 2])),
            "n_classes": n_classes,
            "activation": activation,
        }


class GruKind(NetworkKind):
    """Recurrent networks (GRU) that read an image row by row, of 16 or 32 hidden units."""

    NAME = "gru"

    @staticmethod
    def draw_config(
        rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
    ) -> dict[str, Any]:
        hidden = int(rng.choice([16, 32]))
        return {"kind": "gru", "n_inputs": image[0] * image[2], "n_hidden": hidden, "n_classes": n_classes}


def _choose_patch(height: int, width: int) -> int:
    """The smallest patch that leaves at most 16 of them."""
    sizes = [p for p in range(1, height + 1) if height % p == 0 and width % p == 0]
    return next(p for p in sizes if (height // p) * (width // p) <= 16)
