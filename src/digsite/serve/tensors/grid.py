"""A tensor seen as a matrix: a slice of it, maybe packed bits, maybe in another order of rows and columns."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from digsite.base.errors import UsageError
from digsite.serve.tensors.stored import Stored

CHUNK = 2_000_000  # cells read at once


@dataclass(frozen=True)
class Grid:
    """`bits` is the number of columns when each row is packed bits, little end first."""

    tensor: Stored
    lead: tuple[int, ...] = ()  # index into the axes before the last two
    bits: int = 0
    transposed: bool = False

    def __post_init__(self) -> None:
        shape = self.tensor.shape
        if len(shape) < 1 or len(self.lead) != max(len(shape) - 2, 0):
            raise UsageError(f"'{self.tensor.key}' has shape {list(shape)}, which is no matrix.")
        if any(not 0 <= i < n for i, n in zip(self.lead, shape)):
            raise UsageError(f"The slice {list(self.lead)} is outside of shape {list(shape)}.")
        if self.bits and not 0 < self.bits <= self._width * self.tensor.read(self._rows(0, 1)).itemsize * 8:
            raise UsageError(f"'{self.tensor.key}' does not hold {self.bits} bits in a row.")

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
        return piece if self.tensor.kind == "BOOL" else piece.astype(np.float32, copy=False)

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, rows) through the whole matrix, a bounded piece at a time."""
        rows, columns = self.shape
        step = max(4, CHUNK // max(columns, 1) // 64 * 64)
        for start in range(0, rows, step):
            yield start, self.block(start, min(start + step, rows))

    @property
    def mask(self) -> bool:
        return bool(self.bits) or self.tensor.kind == "BOOL"
