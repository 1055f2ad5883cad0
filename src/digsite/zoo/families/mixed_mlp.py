"""Fully connected networks of one to three hidden layers of 16 to 64 neurons."""

from math import prod
from typing import Any

import numpy as np


def draw(
    rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
) -> dict[str, Any]:
    hidden = [int(rng.choice([16, 32, 64])) for _ in range(int(rng.integers(1, 4)))]
    return {"kind": "mlp", "sizes": [prod(image), *hidden, n_classes], "activation": activation}
