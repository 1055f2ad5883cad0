"""Checkpoints of a run, each with what the journal was at its moment."""

import json
import time
from pathlib import Path
from typing import Any

from digsite.base.stored import Damaged
from digsite.record.journal import Journal, Mark
from digsite.record.layout import RunDir
from digsite.worker import tree


class Checkpoints:
    """What a resumed run is put together from: files that are whole and agree with the journal, or none of them."""

    def __init__(self, directory: RunDir, every_s: float) -> None:
        self.folder = directory.checkpoints
        self.journal = Journal(directory.journal)
        self.journals = [self.journal]  # of a pack the first run remembers all journals
        self.every_s = every_s
        self._last = time.monotonic()

    def has(self, name: str) -> bool:
        return self._path(name).is_file()

    def due(self) -> bool:
        return time.monotonic() - self._last >= self.every_s

    def save(self, name: str, value: Any) -> None:
        """Keep a value with the length and the digest of each journal, so that resuming knows what was logged before it."""
        self.folder.mkdir(exist_ok=True)
        marks = json.dumps([journal.mark() for journal in self.journals])
        tree.save(self._path(name), value, journals=marks)
        self._last = time.monotonic()

    def load(self, name: str) -> Any:
        """A kept value; what is logged from now on follows what the journal was then."""
        path = self._path(name)
        for journal, (size, _) in zip(self.journals, _marks(tree.metadata(path))):
            journal.replay(size)
        return tree.load(path)

    def begin(self) -> str:
        """Before anything is loaded: believe all checkpoints or none, and start the journal over.

        They build on each other, so that one which was cut or changed takes the others with it; the run then computes
        the same again. Returns the reason, or nothing when all is well.
        """
        files = sorted(self.folder.glob("*.safetensors")) if self.folder.is_dir() else []
        reason = next((said for file in files if (said := self._fault(file))), "")
        for file in files if reason else ():
            file.unlink()
        self.journal.replay()
        return reason

    def _fault(self, file: Path) -> str:
        found = tree.whole_metadata(file)
        if isinstance(found, Damaged):
            return f"{file.name}: {found.reason}"
        pairs = zip(self.journals, _marks(found))
        if not all(journal.holds(mark) for journal, mark in pairs if mark[1]):
            return f"{file.name}: the journal is not the one that it was written beside"
        return ""

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.safetensors"


def _marks(metadata: dict[str, str]) -> list[Mark]:
    """An older digsite kept one length and no digest."""
    if "journals" not in metadata:
        return [(int(metadata.get("journal", 0)), "")]
    return [(int(size), str(digest)) for size, digest in json.loads(metadata["journals"])]
