"""The list of runs in memory, kept fresh by looking only at what can have changed.

Of many thousands of runs only names are looked at before the first answer (ids begin with their date, so that the newest are
known by name); the runs that a page shows are read for it, the others by a thread that reads a hundred at a time.
"""

import os
import re
import threading
import time
from array import array
from calendar import timegm
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from digsite.base import stored
from digsite.base.stored import is_text
from digsite.record.layout import RunDir, is_believable
from digsite.record.listing import has_launch
from digsite.record.marks import FILE as MARKS
from digsite.record.marks import Marks, read_marks
from digsite.record.status import Status, read_status
from digsite.serve.launches import ClaimTable, LeafTable

FRESH_S = 1.0
EAGER = 1000  # so many runs are read before the first answer: a tenth of a second
BATCH = 100  # runs that the thread reads between two looks at whether somebody waits
_DATED = re.compile(r"(\d{4})(\d{2})(\d{2})-(\d{2})(\d{2})-", re.ASCII)  # how an id begins
_NOTHING = array("I")
_UNMARKED = Marks()
_SETTLED_NS = (
    2_000_000_000  # a folder changed less than this before its scan may change again within one tick
)


@dataclass(slots=True)
class Entry:
    run: RunDir
    key: str  # study/id, kept because a filter asks for it of every run and a path is slow to take apart
    status: Status
    modified: int
    version: int
    launch: array = field(
        default_factory=lambda: _NOTHING
    )  # the numbers of its settings in the index's table
    marks: Marks = _UNMARKED
    marked: int = 0  # when its marks were last changed
    is_read: bool = False  # not yet: state and date are guesses from the name


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
        self.leaves = LeafTable()
        self.claims = ClaimTable()
        self._entries: dict[Path, dict[str, Entry]] = {}
        self._folders: dict[Path, _Folder] = {}
        self._sorted: list[Entry] = []
        self._unread: dict[str, Entry] = {}
        self._hollow: set[Path] = set()  # folders that had no launch file when they were looked at
        self._refreshed = float("-inf")
        self._mutex = threading.RLock()

    def entries(self) -> list[Entry]:
        """Every run, newest first, at most a second old; beyond `EAGER` new runs those not read yet are guesses."""
        with self._mutex:
            if time.monotonic() - self._refreshed >= FRESH_S:
                self._refresh_all()
                self._refreshed = time.monotonic()
            return self._sorted

    @property
    def unread(self) -> int:
        """How many runs nothing but the name is known of."""
        return len(self._unread)

    def read_all(self) -> list[Entry]:
        """Every run, read: for filters and orders that need more than names."""
        while self.read_some():
            pass
        return self.entries()

    def read_some(self, n: int = BATCH) -> int:
        """Read so many of the unread runs, newest first; how many are left."""
        with self._mutex:
            self.read_entries([entry for _, entry in zip(range(n), self._unread.values(), strict=False)])
            if not self._unread:
                self._sort_entries()
            return len(self._unread)

    def read_entries(self, entries: Iterable[Entry]) -> None:
        """Read these now, because a page shows them; what turns out to be no run is forgotten."""
        with self._mutex:
            for entry in [entry for entry in entries if not entry.is_read]:
                self._read_entry(entry)
                self._unread.pop(entry.key, None)

    def start_reading(self) -> None:
        """Read what is left in a thread that gives way to whoever asks."""
        if self._unread:
            threading.Thread(target=self._read_behind, daemon=True, name="index").start()

    def _read_behind(self) -> None:
        since = time.monotonic()
        while self.read_some():
            time.sleep(0.002)  # without it a waiting visitor gets no turn at the lock
            if time.monotonic() - since > 2:
                since, self.version = time.monotonic(), self.version + 1  # pages that are open count on

    def _refresh_all(self) -> None:
        before = self.version
        studies = set(_visible_folders(self.root))
        for gone in self._entries.keys() - studies:
            self._forget(self._entries.pop(gone).values())
            del self._folders[gone]
        for study in studies:
            self._refresh_study(study)
        if len(self._unread) <= EAGER:
            self.read_entries(list(self._unread.values()))
        if self.version != before:
            self._sort_entries()

    def _sort_entries(self) -> None:
        everything = [entry for runs in self._entries.values() for entry in runs.values()]
        self._sorted = sorted(everything, key=lambda e: (e.status.created, e.key), reverse=True)
        if self._unread:  # the thread reads what a person sees first
            self._unread = {entry.key: entry for entry in self._sorted if not entry.is_read}

    def _forget(self, entries: Iterable[Entry]) -> None:
        self.version += 1
        for entry in entries:
            self._unread.pop(entry.key, None)

    def _refresh_study(self, study: Path) -> None:
        known, old = self._entries.setdefault(study, {}), self._folders.get(study)
        folder = self._folders[study] = self._scan_study(study)
        status_of = (
            f"{study}/{{}}/{RunDir(study).status_file.name}".format
        )  # text: thousands of paths take longer than their stats
        for gone in known.keys() - folder.names:
            self._forget([known.pop(gone)])
        for name in folder.names:
            entry = known.get(name)
            if entry is None:
                if (path := study / name) not in self._hollow or has_launch(path):
                    self._meet_run(study, name)
            elif entry.is_read and (
                (entry.status.state != "finished" and _modified_at(status_of(name)) != entry.modified)
                or (folder is not old and _modified_at(entry.run.path / MARKS) != entry.marked)
            ):
                self._read_entry(entry)

    def _meet_run(self, study: Path, name: str) -> None:
        """A new name: what it says is believed until the run is read."""
        run = RunDir(study / name)
        status = Status("planned", study.name, name, created=_date_of(name))
        entry = Entry(run, f"{study.name}/{name}", status, 0, self.version)
        self._entries[study][name] = self._unread[entry.key] = entry
        self.version += 1

    def _scan_study(self, study: Path) -> _Folder:
        old, modified = self._folders.get(study), _modified_at(study)
        if old and old.modified == modified and old.scanned - modified > _SETTLED_NS:
            return old
        return _Folder(modified, time.time_ns(), {path.name for path in _visible_folders(study)})

    def _read_entry(self, entry: Entry) -> None:
        """Status, settings and marks; a folder without a launch file is no run and leaves the list."""
        run = entry.run
        data = stored.read_bytes(run.launch)  # a pipe in its place would be waited for without end
        if data is None:
            self._entries.get(run.path.parent, {}).pop(run.id, None)
            self._hollow.add(run.path)
            return
        self._hollow.discard(run.path)
        self.version += 1
        entry.modified = _modified_at(
            run.status_file
        )  # before reading: a change in between is seen next time
        entry.marked = _modified_at(run.path / MARKS)
        entry.status = read_status(run.status_file)
        if not is_believable(run, data):
            message = "damaged launch.yaml: it was cut or edited"
            entry.status = replace(entry.status, state="damaged", message=message)
        text = data.decode(errors="replace") if isinstance(data, bytes) else ""
        entry.launch = self.leaves.add_launch(text)
        entry.marks = read_marks(run) if entry.marked else _UNMARKED
        entry.version, entry.is_read = self.version, True


def _date_of(name: str) -> float:
    """The moment that an id begins with, or 0: only the order until the run is read."""
    match = _DATED.match(name)
    return float(timegm((*map(int, match.groups()), 0))) if match else 0.0


def _visible_folders(path: Path) -> Iterator[Path]:
    """Visible folders that are no links."""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                hidden = entry.name.startswith(".") or not is_text(entry.name)
                if not hidden and entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)
    except OSError:  # gone, no folder, or not ours to look into: the next look may tell more
        return


def _modified_at(path: Path | str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - a text stays one
    except OSError:
        return 0
