"""Recurrent networks (GRU) that read an image row by row, of 16 or 32 hidden units."""

from typing import Any

import numpy as np


def draw(
    rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
) -> dict[str, Any]:
    hidden = int(rng.choice([16, 32]))
    return {"kind": "gru", "n_inputs": image[0] * image[2], "n_hidden": hidden, "n_classes": n_classes}
