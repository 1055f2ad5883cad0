"""Small transformer encoders on image patches, of width 16 or 32 and one or two blocks."""

from typing import Any

import numpy as np


def draw(
    rng: np.random.Generator, activation: str, image: tuple[int, int, int], n_classes: int
) -> dict[str, Any]:
    width = int(rng.choice([16, 32]))
    return {
        "kind": "transformer",
        "image": list(image),
        "patch": _patch(image[1], image[2]),
        "d_model": width,
        "n_heads": int(rng.choice([2, 4])),
        "d_mlp": 2 * width,
        "n_layers": int(rng.choice([1, 2])),
        "n_classes": n_classes,
        "activation": activation,
    }


def _patch(height: int, width: int) -> int:
    """The smallest patch that leaves at most 16 of them."""
    sizes = [p for p in range(1, height + 1) if height % p == 0 and width % p == 0]
    return next(p for p in sizes if (height // p) * (width // p) <= 16)
