"""The original rule: each first difference more than two standard deviations from the mean difference is a jump.

It marks a fixed share of any series (4.55 % of white noise) and is here to be compared with.
"""

from __future__ import annotations

import numpy as np

from digsite.track.core.jumps import Change


def detect(values: np.ndarray, *, threshold: float = 2.0) -> list[Change]:
    """`index` is the first sample after the difference, so the original's own index is one less."""
    velocity = np.diff(values)
    spread = velocity.std()
    if spread == 0:
        return []
    score = np.abs(velocity - velocity.mean()) / spread
    return [Change(int(i) + 1, int(i) + 1, int(i) + 1) for i in np.flatnonzero(score > threshold)]
