"""Tensors in a safetensors file whose bytes depend on its content alone."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

_LENGTH = 8  # bytes that say how long the header is


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write `tensors` (name to tensor) and `metadata` (text to text) to `path`.

    The library writes metadata in the order of a hash map that is seeded anew in each process, so that the same content
    comes out as different files. The header is put in order in place; its length stays.
    """
    save_file(dict(tensors), path, dict(metadata) if metadata else None)
    if metadata and len(metadata) > 1:
        _sort_header(path)


def _sort_header(path: Path) -> None:
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        entries = json.loads(file.read(length))
        entries["__metadata__"] = dict(sorted(entries["__metadata__"].items()))
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # shorter only where the library escapes a character that need not be
            file.seek(_LENGTH)
            file.write(text.ljust(length))
