"""A safetensors file as lazily read arrays; the header is checked against the file before anything is trusted."""

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

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
    dtype: str
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
            self.path, dtype=_TYPES[self.dtype], mode="r", offset=self.start, shape=self.shape or (1,)
        )
        piece = np.array(mapped.reshape(self.shape)[index])
        del mapped
        return _from_bfloat16(piece) if self.dtype == "BF16" else piece

    @property
    def integer(self) -> bool:
        return self.dtype[0] in "IU" or self.dtype == "BOOL"


def read_header(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
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
        tensors = {
            key: _check_entry(path, key, e, body, stat.st_size, stat.st_mtime_ns)
            for key, e in entries.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"'{path.name}' has a broken header.") from None
    return tensors, metadata


def _check_entry(path: Path, key: str, entry: dict[str, Any], body: int, size: int, modified: int) -> Stored:
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
    tensors, _ = read_header(path)
    if not key and len(tensors) == 1:
        return next(iter(tensors.values()))
    if key not in tensors:
        raise NotFound(f"'{path.name}' has no tensor '{key}'. {name_nearest(key, tensors)}".strip())
    return tensors[key]


def _from_bfloat16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


# A tensor seen as a matrix: a slice of it, maybe packed bits, maybe in another order of rows and columns.

CHUNK = 2_000_000  # cells read at once


class Cells(Protocol):
    """What a grid reads from: a tensor on disk, or cells that are drawn when they are asked for."""

    @property
    def key(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    def read(self, index: Any = ...) -> np.ndarray: ...


@dataclass(frozen=True)
class Grid:
    """`bits` is the number of columns when each row is packed bits, little end first; `minus` is taken away cell by cell."""

    tensor: Cells
    lead: tuple[int, ...] = ()  # index into the axes before the last two
    bits: int = 0
    minus: "Grid | None" = None

    def __post_init__(self) -> None:
        shape = self.tensor.shape
        if len(shape) < 1 or len(self.lead) != max(len(shape) - 2, 0):
            raise UsageError(f"'{self.tensor.key}' has shape {list(shape)}, which is no matrix.")
        if any(not 0 <= i < n for i, n in zip(self.lead, shape)):
            raise UsageError(f"The slice {list(self.lead)} is outside of shape {list(shape)}.")
        if self.bits and not 0 < self.bits <= self._width * self.tensor.read(self._rows(0, 1)).itemsize * 8:
            raise UsageError(f"'{self.tensor.key}' does not hold {self.bits} bits in a row.")
        if self.minus and self.minus.shape != self.shape:
            raise UsageError(
                f"'{self.minus.tensor.key}' has shape {list(self.minus.shape)} beside {list(self.shape)}."
            )

    @property
    def _width(self) -> int:
        return self.tensor.shape[-1]

    @property
    def shape(self) -> tuple[int, int]:
        rows = self.tensor.shape[-2] if len(self.tensor.shape) > 1 else 1
        return rows, self.bits or self._width

    def _rows(self, start: int, end: int):
        return (*self.lead, slice(start, end)) if len(self.tensor.shape) > 1 else (None, slice(None))

    def packed(self, start: int, end: int) -> np.ndarray:
        """Rows of packed bytes."""
        assert self.bits
        block = np.ascontiguousarray(self.tensor.read(self._rows(start, end)))
        return block.view(np.uint8)[:, : -(-self.bits // 8)]

    def block(self, start: int, end: int, left: int = 0, right: int | None = None) -> np.ndarray:
        """Cells in stored order: uint8 for masks, float32 for everything else."""
        right = self.shape[1] if right is None else right
        if self.minus:
            own = replace(self, minus=None)
            return np.subtract(
                *(grid.block(start, end, left, right) for grid in (own, self.minus)), dtype=np.float32
            )
        if self.bits:
            first = left // 8
            piece = self.packed(start, end)[:, first : -(-right // 8)]
            unpacked = np.unpackbits(piece, axis=1, bitorder="little")
            return unpacked[:, left - 8 * first : right - 8 * first]
        index = self._rows(start, end)
        piece = self.tensor.read((*index, slice(left, right)) if len(self.tensor.shape) > 1 else index)[
            ..., :
        ]
        if len(self.tensor.shape) == 1:
            piece = piece[:, left:right]
        return piece if self.tensor.dtype == "BOOL" else piece.astype(np.float32, copy=False)

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, rows) through the whole matrix, a bounded piece at a time."""
        rows, columns = self.shape
        step = max(4, CHUNK // max(columns, 1) // 64 * 64)
        for start in range(0, rows, step):
            yield start, self.block(start, min(start + step, rows))

    @property
    def of_masks(self) -> bool:
        return bool(self.bits) or self.tensor.dtype == "BOOL"

    @property
    def mask(self) -> bool:
        return self.of_masks and not self.minus
