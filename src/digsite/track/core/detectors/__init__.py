"""The family of jump detectors: each derives from `Detector` and turns the values of a series into changes, in order."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from digsite.track.core.jumps import Change


@dataclass(frozen=True)
class Verdict:
    """The changes of a series, or the reason why the detector cannot tell (then there are none)."""

    changes: list[Change]
    because: str = ""

    @property
    def applies(self) -> bool:
        """Whether the test could be made."""
        return not self.because


class Detector(ABC):
    """A rule that says where a series changes; asked as a class, its options are keyword arguments of `detect`."""

    DATES_TRANSITIONS: ClassVar[bool] = False
    """Smooth transitions are dated beside its changes, which are told apart from them."""

    @staticmethod
    @abstractmethod
    def detect(values: np.ndarray) -> list[Change]:
        """`values` (n,) are finite and not constant over all of the series; a constant series has no change."""

    @classmethod
    def judge(cls, values: np.ndarray, **options: Any) -> Verdict:
        """As `detect`; a detector that knows where it does not apply says so here."""
        return Verdict(cls.detect(values, **options))


Member = Detector
