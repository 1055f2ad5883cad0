"""Convolutional networks of mixed depths, widths, kernels, activations and skips."""

from typing import Any

import numpy as np

from digsite.models.configs.wild_cnn import sample

CHANNELS = (4, 8, 16)  # of the published 4 to 64: what two cores train by the hundred


def draw(
    rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
) -> dict[str, Any]:
    drawn = sample(rng, channels_in=image[0], n_classes=n_classes)
    channels = [int(rng.choice(CHANNELS)) for _ in drawn.channels]
    return drawn.model_copy(update={"channels": channels}).model_dump()
