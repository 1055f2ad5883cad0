"""The successor package's rule: a level more than three standard deviations from the mean of the 50 samples before."""

from __future__ import annotations

import numpy as np

from digsite.track.core.jumps import Change


def detect(
    values: np.ndarray, *, window: int = 50, threshold: float = 3.0, minimum: int = 20
) -> list[Change]:
    found = []
    for i in range(minimum, len(values)):
        past = values[max(i - window, 0) : i]
        spread = past.std()
        if spread > 0 and abs(values[i] - past.mean()) / spread > threshold:
            found.append(Change(i, i, i))
    return found
