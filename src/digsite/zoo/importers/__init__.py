"""Collections that others made: each is read from its folder as parts of a zoo, once, into the user's cache."""

from abc import ABC, abstractmethod
from pathlib import Path

from digsite.base import settings
from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.base.families import list_members, scan_member
from digsite.zoo.store import INDEX, Part, ZooWriter, imported_folder

IMPORTERS = "digsite.zoo.importers"


class Importer(ABC):
    """One published layout of a collection."""

    @staticmethod
    @abstractmethod
    def read_folder(folder: Path) -> list[Part]:
        """Every network of the collection that lies in `folder`, as it was published."""
        ...


Member = Importer


def import_zoo(source: str, folder: Path | None = None, out: Path | None = None) -> Path:
    """Read `folder` (by default DIGSITE_DATA/source) and return the folder of the zoo."""
    if source not in list_members(IMPORTERS):
        raise UsageError(f"There is no importer '{source}'. {name_nearest(source, list_members(IMPORTERS))}")
    out = out or imported_folder(source)
    if (out / INDEX).is_file():
        return out
    folder = folder or (settings.data_dir() or Path("data")) / source
    if not folder.is_dir():
        raise NotFound(
            f"There is no folder '{folder}'.", hint=f"Set DIGSITE_DATA to the folder that holds {source}."
        )
    writer = ZooWriter(out, source, (1,), {"imported": source})
    writer.begin()
    writer.write(0, scan_member(IMPORTERS, source).read_folder(folder))
    writer.finish(1)
    return out
