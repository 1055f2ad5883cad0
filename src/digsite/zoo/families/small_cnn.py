"""The Small CNN: three convolutions of 16 channels, 4,970 parameters at one input channel."""

from typing import Any

import numpy as np


def draw(
    rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
) -> dict[str, Any]:
    channels, height, width = image
    padding = int(min(height, width) < 15)  # smaller images would shrink to nothing
    fixed = {"kind": "small_cnn", "channels_in": channels, "n_classes": n_classes, "padding": padding}
    return {**fixed, "activation": activation}
