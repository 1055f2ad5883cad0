"""Image sets by name: where the files of each come from and how they are read."""

from abc import ABC, abstractmethod

from digsite.base import settings
from digsite.data.fetch import Source, find_file, locate_file
from digsite.data.images import ImageSet


class SetReader(ABC):
    """One image set: a sentence on it as the docstring, and `read_set`."""

    FILES: tuple[Source, ...] = ()  # what can be downloaded; none for a set that a package brings
    INSTEAD = ("", "")  # a folder and a file that will do as well

    @staticmethod
    @abstractmethod
    def read_set() -> ImageSet:
        """All images and labels in memory, from where `digsite.data.fetch` finds the files."""
        ...

    @classmethod
    def refuse_missing(cls, name: str) -> None:
        """Where nothing may be downloaded, the first file that is not here is named with the way to get it."""
        if settings.is_offline() and not (cls.INSTEAD[0] and find_file(*cls.INSTEAD)):
            for source in cls.FILES:
                locate_file(name, source)


Member = SetReader
