"""Files that are either the old or the new content, never half of it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from digsite.base import stored
from digsite.base.errors import DigsiteError


@contextmanager
def replace_file(path: Path, *, fsync: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place if the block succeeds, remove it if not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        if fsync:
            _sync_file(temporary)
        temporary.replace(path)
        if fsync:
            fsync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, fsync: bool = False) -> None:
    with replace_file(path, fsync=fsync) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str, *, fsync: bool = False) -> None:
    write_bytes(path, text.encode(errors="replace"), fsync=fsync)


def write_json(path: Path, value: Any, *, fsync: bool = False) -> None:
    write_text(path, dump_json(value, indent=2) + "\n", fsync=fsync)


def read_json(path: Path, *, default: Any = None) -> Any:
    """The stored value, or `default` when there is no such file; a damaged one is refused in a sentence."""
    value = stored.read_json(path)
    if isinstance(value, stored.Damaged):
        raise DigsiteError(
            f"'{path}' is damaged: {value.reason}.", hint="Restore it, or remove it to start anew."
        )
    return default if value is None else value


def read_json_or(path: Path, default: Any) -> Any:
    """The stored value if it is of the default's type, else the default: for records that can be written anew."""
    value = stored.read_json(path, kind=type(default))
    return value if isinstance(value, type(default)) else default


def dump_json(value: Any, *, indent: int | None = None) -> str:
    """JSON that every parser reads: NaN and infinities become null, NumPy scalars become numbers."""
    return stored.clean_text(
        json.dumps(_plain_value(value), indent=indent, allow_nan=False, ensure_ascii=False)
    )


def _plain_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy and torch, without importing either
        return _plain_value(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return str(value) if isinstance(value, Path) else value


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Make names in a folder last: without it a power loss can undo a rename whose file was already on disk."""
    with suppress(OSError):  # some file systems cannot, and say so
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path) -> int:
    """Delete the temporary files of writers that were killed, anywhere below `folder`; how many there were.

    Only whoever holds the folder's lock may call this: the temporary files of a living writer look the same.
    """
    gone = 0
    for path in folder.rglob(".*.part"):
        with suppress(OSError):
            path.unlink()
            gone += 1
    return gone
