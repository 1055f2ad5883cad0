"""The list of runs in memory, kept fresh by looking only at what can have changed."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from digsite.base.stored import is_text
from digsite.record.layout import RunDir, is_believable
from digsite.record.listing import has_launch
from digsite.record.status import Status, read_status

FRESH_S = 1.0
_SETTLED_NS = (
    2_000_000_000  # a folder changed less than this before its scan may change again within one tick
)


@dataclass(slots=True)
class Entry:
    run: RunDir
    status: Status
    modified: int
    version: int

    @property
    def key(self) -> str:
        return f"{self.run.path.parent.name}/{self.run.id}"


@dataclass(slots=True)
class _Folder:
    modified: int
    scanned: int
    names: set[str]


class Index:
    """Finished runs are not looked at again; others are, by the time of their status file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.version = 0
        self._entries: dict[Path, dict[str, Entry]] = {}
        self._folders: dict[Path, _Folder] = {}
        self._sorted: list[Entry] = []
        self._refreshed = float("-inf")
        self._mutex = threading.Lock()

    def entries(self) -> list[Entry]:
        """Every run, newest first, at most a second old."""
        with self._mutex:
            if time.monotonic() - self._refreshed >= FRESH_S:
                self._refresh_all()
                self._refreshed = time.monotonic()
            return self._sorted

    def _refresh_all(self) -> None:
        before = self.version
        studies = set(_visible_folders(self.root))
        for gone in self._entries.keys() - studies:
            del self._entries[gone], self._folders[gone]
            self.version += 1
        for study in studies:
            self._refresh_study(study)
        if self.version != before:
            everything = [entry for runs in self._entries.values() for entry in runs.values()]
            self._sorted = sorted(everything, key=lambda e: (e.status.created, e.run.id), reverse=True)

    def _refresh_study(self, study: Path) -> None:
        known = self._entries.setdefault(study, {})
        folder = self._folders[study] = self._scan_study(study)
        for gone in known.keys() - folder.names:
            del known[gone]
            self.version += 1
        for name in folder.names:
            entry = known.get(name)
            if entry is None:
                if has_launch(study / name):
                    known[name] = self._read(RunDir(study / name))
            elif entry.status.state != "finished" and _modified_at(entry.run.status_file) != entry.modified:
                known[name] = self._read(entry.run)

    def _scan_study(self, study: Path) -> _Folder:
        old, modified = self._folders.get(study), _modified_at(study)
        if old and old.modified == modified and old.scanned - modified > _SETTLED_NS:
            return old
        return _Folder(modified, time.time_ns(), {path.name for path in _visible_folders(study)})

    def _read(self, run: RunDir) -> Entry:
        self.version += 1
        modified = _modified_at(run.status_file)  # before reading: a change in between is seen next time
        status = read_status(run.status_file)
        if not is_believable(run):
            status = replace(status, state="damaged", message="damaged launch.yaml: it was cut or edited")
        return Entry(run, status, modified, self.version)


def _visible_folders(path: Path) -> Iterator[Path]:
    """Visible folders that are no links."""
    try:
        with os.scandir(path) as found:
            for entry in found:
                hidden = entry.name.startswith(".") or not is_text(entry.name)
                if not hidden and entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)
    except OSError:  # gone, no folder, or not ours to look into: the next look may tell more
        return


def _modified_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
