"""Least squares for a step or ramp on a straight base under AR(1) noise, at every sample and several widths."""

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


def whiten(columns: np.ndarray, phi: float) -> np.ndarray:
    """x_t - phi x_(t-1) along the last axis, one sample shorter."""
    return columns[..., 1:] - phi * columns[..., :-1]


@lru_cache(maxsize=1024)
def kernel(half: int, width: int, phi: float) -> np.ndarray:
    """The unit vector whose product with a whitened window is the step's z-score on unit-variance innovations."""
    u = np.arange(-half - 1, half) + 0.5
    base = np.linalg.qr(np.stack([np.ones(2 * half), u[1:] / half], axis=1))[0]
    template = whiten(rise(u, width), phi)
    left = template - base @ (base.T @ template)
    return left / np.linalg.norm(left)


def z_scores(rows: np.ndarray, phi: float, scale: np.ndarray) -> np.ndarray:
    """(rows, templates, n): z-score of a level change between sample i-1 and i; zero where the window does not fit."""
    whitened = whiten(rows, phi)
    n = rows.shape[-1]
    out = np.zeros((len(rows), len(TEMPLATES), n))
    for k, (half, width) in enumerate(TEMPLATES):
        if n - 1 < 2 * half:
            continue
        view = np.lib.stride_tricks.sliding_window_view(whitened, 2 * half, axis=-1)
        z = view @ kernel(half, width, phi)
        out[:, k, half + 1 : half + 1 + z.shape[-1]] = z / scale[:, half : half + z.shape[-1]]
    return out
