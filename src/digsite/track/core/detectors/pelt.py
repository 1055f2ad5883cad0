"""Exact segmentation into constant levels by PELT, with a penalty in units of BIC; blind to trends and memory."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from digsite.track.core.jumps import Change


def detect(values: np.ndarray, *, bics: float = 3.0, min_size: int = 2) -> list[Change]:
    return [Change(i, i, i) for i in breakpoints(values, "linear", bics, min_size)]


def breakpoints(values: np.ndarray, kernel: str, bics: float, min_size: int) -> list[int]:
    """Change points of the C implementation: PELT for the linear kernel is least squares on levels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ruptures import KernelCPD

    noise = float(np.median(np.abs(np.diff(values))) * 1.4826 / np.sqrt(2))
    if noise == 0:
        return []
    scaled = (values / noise)[:, None]
    penalty = bics * np.log(len(values))
    method: Any = KernelCPD(kernel=kernel, min_size=min_size)
    return [int(i) for i in method.fit(scaled).predict(pen=penalty)[:-1]]
