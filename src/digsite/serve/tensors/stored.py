"""A safetensors file as lazily read arrays; the header is checked against the file before anything is trusted."""

import math
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.base.stored import parse_json

HEADER_LIMIT = 20_000_000
AT_ONCE = 8_000_000  # numbers that are read as a whole; larger tensors are shown as tiles or samples
_TYPES: dict[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "BOOL": "<u1",
}


@dataclass(frozen=True)
class Stored:
    """One tensor on disk."""

    path: Path
    key: str
    kind: str
    shape: tuple[int, ...]
    start: int
    modified: int

    def read(self, index: Any = ...) -> np.ndarray:
        """A slice in memory; bfloat16 becomes float32. Only the touched pages are read, and none stays mapped."""
        if index is ... and math.prod(self.shape) > AT_ONCE:
            raise UsageError(
                f"'{self.key}' holds {math.prod(self.shape):,} numbers, more than a page can take."
            )
        if 0 in self.shape:
            return np.zeros(self.shape, np.float32)[index]
        mapped = np.memmap(
            self.path, dtype=_TYPES[self.kind], mode="r", offset=self.start, shape=self.shape or (1,)
        )
        piece = np.array(mapped.reshape(self.shape)[index])
        del mapped
        return _from_bfloat16(piece) if self.kind == "BF16" else piece

    @property
    def integer(self) -> bool:
        return self.kind[0] in "IU" or self.kind == "BOOL"


def header(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """Tensors by name, and the file's metadata."""
    stat = path.stat()
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(HEADER_LIMIT, stat.st_size - 8):
            raise UsageError(f"'{path.name}' is not a safetensors file.")
        entries = parse_json(file.read(length))
    body = 8 + length
    try:
        metadata = entries.pop("__metadata__", {})
        metadata = metadata if isinstance(metadata, dict) else {}
        found = {
            key: _entry(path, key, e, body, stat.st_size, stat.st_mtime_ns) for key, e in entries.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"'{path.name}' has a broken header.") from None
    return found, metadata


def _entry(path: Path, key: str, entry: dict[str, Any], body: int, size: int, modified: int) -> Stored:
    kind, shape = entry["dtype"], tuple(map(operator.index, entry["shape"]))
    start, end = entry["data_offsets"]
    if kind not in _TYPES:
        raise UsageError(f"'{path.name}' holds {kind} in '{key}', which cannot be shown.")
    expected = math.prod(shape) * np.dtype(_TYPES[kind]).itemsize
    if (
        len(shape) > 32
        or min(shape, default=0) < 0
        or start < 0
        or end - start != expected
        or body + end > size
    ):
        raise UsageError(f"'{path.name}' is cut or broken at '{key}'.")
    return Stored(path, key, kind, shape, body + start, modified)


def open_tensor(path: Path, key: str) -> Stored:
    tensors, _ = header(path)
    if not key and len(tensors) == 1:
        return next(iter(tensors.values()))
    if key not in tensors:
        raise NotFound(f"'{path.name}' has no tensor '{key}'. {name_nearest(key, tensors)}".strip())
    return tensors[key]


def _from_bfloat16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)
