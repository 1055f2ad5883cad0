"""Image sets by name: where the files of each come from and how they are read."""

from abc import ABC, abstractmethod

from digsite.data.images import ImageSet


class SetReader(ABC):
    """One image set: a sentence on it as the docstring, and `read_set`."""

    @staticmethod
    @abstractmethod
    def read_set() -> ImageSet:
        """All images and labels in memory, from where `digsite.data.fetch` finds the files."""
        ...


Member = SetReader
