"""JSON lines: append-only journals that survive a cut last line."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from digsite.base.atomic import dumps


def append(path: Path, record: dict[str, Any]) -> None:
    """One `write` of one line on an O_APPEND descriptor, so concurrent readers see whole lines."""
    line = (dumps(record) + "\n").encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def read(path: Path, *, offset: int = 0) -> Iterator[dict[str, Any]]:
    """The whole lines from byte `offset` on; a last line without its newline is not there yet."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if line.endswith(b"\n") and line.strip():
                yield json.loads(line)


def whole_size(path: Path) -> int:
    """Bytes up to and including the last newline."""
    data = path.read_bytes() if path.exists() else b""
    return data.rfind(b"\n") + 1


def truncate(path: Path, size: int) -> None:
    """Forget everything after byte `size` (a resumed run repeats it)."""
    if path.exists() and path.stat().st_size > size:
        os.truncate(path, size)
