"""The journal of measurements: JSON lines that depend on the run alone, read back as columns.

Lines carry no time: two equal runs have equal journals, and a resumed run finds the lines that it logs again where the
killed one left them. When each line was written is told beside it, in `clock.jsonl`.
"""

import os
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

from digsite.base import jsonl
from digsite.base.stored import finite_number

Mark = tuple[int, str]  # a length in bytes, and the digest of that much of the file
CLOCK = "clock.jsonl"


class Journal:
    """The one writer of a journal. A resumed run walks over what is there, and cuts it only where it says otherwise."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at: int | None = None  # where the next line belongs; None: at the end

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Write one line, unless the same line already stands where it belongs."""
        line = jsonl.line_of({"step": step, **values})
        if self.at is not None:
            stands = self._stands_there(line)
            self.at += len(line)
            if stands:
                return
        jsonl.append_line(self.path, line)
        jsonl.append_record(self.path.with_name(CLOCK), {"step": step, "time": round(time.time(), 3)})

    def _stands_there(self, line: bytes) -> bool:
        """Whether a resumed run is writing what it wrote before: then nothing is written twice."""
        assert self.at is not None
        if not self.path.exists():
            return False
        with self.path.open("rb") as file:
            file.seek(self.at)
            if file.read(len(line)) == line:
                return True
        jsonl.cut_file(self.path, self.at)
        return False

    def replay_from(self, size: int = 0) -> None:
        """The next line belongs at byte `size`: what a checkpoint knew, or the start."""
        jsonl.cut_file(self.path, jsonl.whole_size(self.path))
        self.at = size

    def close(self) -> None:
        """Forget lines of an earlier attempt that were not logged again."""
        if self.at is not None:
            jsonl.cut_file(self.path, self.at)

    def take_mark(self) -> Mark:
        """How much is written and what it is, on disk for good: what a checkpoint remembers."""
        size = jsonl.whole_size(self.path) if self.at is None else self.at
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
        return size, self._digest(size)

    def holds(self, mark: Mark) -> bool:
        """Whether the file still begins with what a checkpoint saw."""
        size, digest = mark
        known = self.path.stat().st_size if self.path.is_file() else 0
        return known >= size and self._digest(size) == digest

    def _digest(self, size: int) -> str:
        """Of the first bytes, by which a checkpoint knows its journal."""
        if not size or not self.path.is_file():
            return blake2b(digest_size=16).hexdigest()
        with self.path.open("rb") as file:
            return blake2b(file.read(size), digest_size=16).hexdigest()


def read_series(path: Path, *, every: int = 1) -> dict[str, tuple[list[float], list[float]]]:
    """Every measured name with its (steps, values), in order of appearance; missing values are left out.

    With `every`, only each so-many-th line is looked at, so that a journal of any length takes bounded memory.
    """
    columns: dict[str, tuple[list[float], list[float]]] = {}
    for record in jsonl.read_records(path, every=every):
        step = finite_number(record.get("step", 0))
        for name, value in record.items() if step is not None else ():
            number = finite_number(value)
            if step is not None and number is not None and name not in ("step", "time"):
                steps, values = columns.setdefault(name, ([], []))
                steps.append(step)
                values.append(number)
    return columns
