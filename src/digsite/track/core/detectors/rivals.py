"""Detectors to compare with: two rules that mark a fixed share of anything, two that take trends and memory for changes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from digsite.track.core.detectors import Detector
from digsite.track.core.jumps import Change


class Zscore(Detector):
    """The original rule: each first difference more than two standard deviations from the mean difference is a jump.

    It marks a fixed share of any series (4.55 % of white noise).
    """

    @staticmethod
    def detect(values: np.ndarray, *, threshold: float = 2.0) -> list[Change]:
        """`index` is the first sample after the difference, so the original's own index is one less."""
        velocity = np.diff(values)
        spread = velocity.std()
        if spread == 0:
            return []
        score = np.abs(velocity - velocity.mean()) / spread
        return [Change(int(i) + 1, int(i) + 1, int(i) + 1) for i in np.flatnonzero(score > threshold)]


class Trailing(Detector):
    """The successor package's rule: a level more than three standard deviations from the mean of the 50 samples before.

    One step is found several times, as the window needs time to forget what was before it.
    """

    @staticmethod
    def detect(
        values: np.ndarray, *, window: int = 50, threshold: float = 3.0, minimum: int = 20
    ) -> list[Change]:
        """`window` samples before each are its past, at least `minimum` of them; `threshold` in their deviations."""
        changes = []
        for i in range(minimum, len(values)):
            past = values[max(i - window, 0) : i]
            spread = past.std()
            if spread > 0 and abs(values[i] - past.mean()) / spread > threshold:
                changes.append(Change(i, i, i))
        return changes


class Pelt(Detector):
    """Exact segmentation into constant levels by PELT, with a penalty in units of BIC; blind to trends and memory."""

    @staticmethod
    def detect(values: np.ndarray, *, bics: float = 3.0, min_size: int = 2) -> list[Change]:
        """`bics` is the penalty of one change, `min_size` the fewest samples between two."""
        return [Change(i, i, i) for i in find_breakpoints(values, "linear", bics, min_size)]


class Kernel(Detector):
    """Kernel change points (radial basis): any change of the distribution, levels or spread, with a BIC-like penalty."""

    @staticmethod
    def detect(values: np.ndarray, *, bics: float = 1.0, min_size: int = 5) -> list[Change]:
        """`bics` is the penalty of one change, `min_size` the fewest samples between two."""
        return [Change(i, i, i) for i in find_breakpoints(values, "rbf", bics, min_size)]


def find_breakpoints(values: np.ndarray, kernel: str, bics: float, min_size: int) -> list[int]:
    """Change points of the C implementation: PELT for the linear kernel is least squares on levels.

    The penalty is for unit noise, so `values` (n,) are divided by what their increments say the noise is.
    """
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
