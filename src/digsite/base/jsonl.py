"""JSON lines: append-only journals that survive a cut or damaged line."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from digsite.base import stored
from digsite.base.atomic import dump_json

MAX_LINE = 1_000_000  # bytes; a longer line is damage, and is skipped without being held in memory


def line_of(record: dict[str, Any]) -> bytes:
    """A record as the bytes of one line."""
    return (dump_json(record) + "\n").encode(errors="replace")


def append_record(path: Path, record: dict[str, Any]) -> None:
    """One line at the end of the file."""
    append_line(path, line_of(record))


def append_line(path: Path, line: bytes) -> None:
    """One `write` of one line on an O_APPEND descriptor, so concurrent readers see whole lines."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def read_records(path: Path, *, offset: int = 0, every: int = 1) -> Iterator[dict[str, Any]]:
    """The whole lines from byte `offset` on; a last line without its newline is not there yet.

    A damaged line costs itself and not the lines around it.
    """
    for line in islice(raw_lines(path, offset=offset), 0, None, every):
        value = stored.parse_json(line)
        if isinstance(value, dict):
            yield value


def raw_lines(path: Path, *, offset: int = 0) -> Iterator[bytes]:
    """Lines as bytes, those without their newline or beyond MAX_LINE left out."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(offset)
        whole = True  # whether the piece that comes next starts a line
        while piece := file.readline(MAX_LINE):
            ends = piece.endswith(b"\n")
            if whole and ends and piece.strip():
                yield piece
            whole = ends


def whole_size(path: Path) -> int:
    """Bytes up to and including the last newline."""
    data = path.read_bytes() if path.is_file() else b""
    return data.rfind(b"\n") + 1


def cut_file(path: Path, size: int) -> None:
    """Forget everything after byte `size` (a resumed run repeats it)."""
    if path.exists() and path.stat().st_size > size:
        os.truncate(path, size)
