"""The family of jump detectors: each derives from `Detector` and turns the values of a series into changes, in order."""

from abc import ABC, abstractmethod

import numpy as np

from digsite.track.core.jumps import Change


class Detector(ABC):
    """A rule that says where a series changes; asked as a class, its options are keyword arguments of `detect`."""

    @staticmethod
    @abstractmethod
    def detect(values: np.ndarray) -> list[Change]:
        """`values` (n,) are finite and not constant over all of the series; a constant series has no change."""


Member = Detector
