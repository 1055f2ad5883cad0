"""Formats of weights, told apart by content.

The order in which formats are asked is that of their names, so each must be sure: a zip of arrays, a zip of
torch.save and a `.keras` file all begin with PK.
"""

from abc import ABC, abstractmethod
from pathlib import Path

from digsite.weights.bundle import WeightBundle


class Format(ABC):
    """One layout of weights on disk."""

    @staticmethod
    @abstractmethod
    def fits_content(path: Path) -> bool:
        """Whether the file or folder is of this format, from its first bytes: called for anything that is opened."""
        ...

    @staticmethod
    @abstractmethod
    def read_path(path: Path) -> WeightBundle:
        """Its tensors, read from disk when each is asked for, and what the file says about itself."""
        ...


Member = Format
