"""Checkpoints of a run, each with the length of the journal at its moment."""

import time
from typing import Any

from digsite.record.journal import Journal
from digsite.record.layout import RunDir
from digsite.worker import tree


class Checkpoints:
    def __init__(self, directory: RunDir, every_s: float) -> None:
        self.folder = directory.checkpoints
        self.journal = Journal(directory.journal)
        self.every_s = every_s
        self._last = time.monotonic()

    def has(self, name: str) -> bool:
        return self._path(name).is_file()

    def due(self) -> bool:
        return time.monotonic() - self._last >= self.every_s

    def save(self, name: str, value: Any) -> None:
        self.folder.mkdir(exist_ok=True)
        tree.save(self._path(name), value, journal=str(self.journal.size()))
        self._last = time.monotonic()

    def load(self, name: str) -> Any:
        return tree.load(self._path(name))

    def rewind_journal(self) -> None:
        """The journal only grows, so the newest checkpoint is the one that saw the longest journal."""
        files = self.folder.glob("*.safetensors") if self.folder.is_dir() else []
        self.journal.rewind(max((int(tree.metadata(file)["journal"]) for file in files), default=0))

    def _path(self, name: str):
        return self.folder / f"{name.replace('/', '-')}.safetensors"
