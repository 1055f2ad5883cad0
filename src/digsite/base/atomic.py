"""Files that are either the old or the new content, never half of it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path, *, fsync: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place if the block succeeds, remove it if not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        if fsync:
            _fsync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, fsync: bool = False) -> None:
    with replacing(path, fsync=fsync) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str, *, fsync: bool = False) -> None:
    write_bytes(path, text.encode(), fsync=fsync)


def write_json(path: Path, value: Any, *, fsync: bool = False) -> None:
    write_text(path, dumps(value, indent=2) + "\n", fsync=fsync)


def read_json(path: Path, *, default: Any = None) -> Any:
    """The stored value, or `default` when there is no such file."""
    return json.loads(path.read_bytes()) if path.is_file() else default


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON that every parser reads: NaN and infinities become null, NumPy scalars become numbers."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy and torch, without importing either
        return _plain(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return str(value) if isinstance(value, Path) else value


def _fsync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
