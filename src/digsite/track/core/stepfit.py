"""Least squares for a step or ramp on a straight base under AR(2) noise, at every sample and several widths."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# Half-width of the window and width of the rise that is looked for, both in samples.
TEMPLATES = ((8, 1), (16, 1), (32, 1), (32, 10))
HALF = 32
MARGIN = 8
RISES = (1, 2, 3, 5, 8, 10, 14, 18)


def rise(u: np.ndarray, width: int) -> np.ndarray:
    """A level change of one around u = 0, abrupt (width 1) or linear over `width` samples."""
    return np.clip(u / width + 0.5, 0, 1) if width > 1 else (u > 0).astype(float)


Memory = tuple[
    float, float
]  # the two real roots of the noise's recursion; (0, 0) is white, (1, 0) a random walk
LOST = 2  # samples that whitening takes from the start


def whiten(columns: np.ndarray, memory: Memory) -> np.ndarray:
    """(1 - a L)(1 - b L) x along the last axis, two samples shorter."""
    for root in memory:
        columns = columns[..., 1:] - root * columns[..., :-1]
    return columns


@lru_cache(maxsize=8192)
def kernel(half: int, width: int, memory: Memory) -> np.ndarray:
    """The unit vector whose product with a whitened window is the step's z-score on unit-variance innovations."""
    u = np.arange(-half - LOST, half) + 0.5
    base = np.linalg.qr(np.stack([np.ones(2 * half), u[LOST:] / half], axis=1))[0]
    template = whiten(rise(u, width), memory)
    left = template - base @ (base.T @ template)
    return left / np.linalg.norm(left)


def z_scores(rows: np.ndarray, memory: Memory, scale: np.ndarray) -> np.ndarray:
    """(rows, templates, n): z-score of a level change between sample i-1 and i; zero where the window does not fit."""
    whitened = whiten(rows, memory)
    n = rows.shape[-1]
    out = np.zeros((len(rows), len(TEMPLATES), n))
    for k, (half, width) in enumerate(TEMPLATES):
        if n - LOST < 2 * half:
            continue
        view = np.lib.stride_tricks.sliding_window_view(whitened, 2 * half, axis=-1)
        z = view @ kernel(half, width, memory)
        places = slice(half + LOST, half + LOST + z.shape[-1])
        out[:, k, places] = z / scale[:, half : half + z.shape[-1]]
    return out
