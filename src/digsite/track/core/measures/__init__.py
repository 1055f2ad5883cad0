"""The family of dimensionality measures: each derives from `Measure` and turns spectra into one number per stack."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from digsite.track.core.spectrum import Spectrum


class Measure(ABC):
    """How many directions a table of activations fills, or a number such measures are made of.

    A member has no state and is never made: it is asked as a class, so that what is measured depends on the spectrum alone.
    """

    IS_DIMENSION: ClassVar[bool] = True
    """Counts directions: k equal ones give k, and nothing gives less than one."""

    @staticmethod
    @abstractmethod
    def measure(spectrum: Spectrum) -> Float[Tensor, "*stack"]:
        """`spectrum` holds the squared singular values of a stack of tables, largest first; a zero table measures zero."""


Member = Measure
