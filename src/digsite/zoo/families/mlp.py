"""Fully connected networks with two hidden layers, 64-32-16-10 on the bundled digits."""

from math import prod
from typing import Any

import numpy as np

HIDDEN = (32, 16)


def draw(
    rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
) -> dict[str, Any]:
    return {"kind": "mlp", "sizes": [prod(image), *HIDDEN, n_classes], "activation": activation}
