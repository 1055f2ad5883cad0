"""Kernel change points (radial basis): any change of the distribution, levels or spread, with a BIC-like penalty."""

from __future__ import annotations

import numpy as np

from digsite.track.core.detectors.pelt import breakpoints
from digsite.track.core.jumps import Change


def detect(values: np.ndarray, *, bics: float = 1.0, min_size: int = 5) -> list[Change]:
    return [Change(i, i, i) for i in breakpoints(values, "rbf", bics, min_size)]
