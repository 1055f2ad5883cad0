"""A matrix at every zoom: means over 2^level x 2^level cells, cut into tiles; one pass over the file at opening."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from digsite.serve.tensors.grid import Grid

TILE = 256
BASE_CELLS = 3_000_000  # what the coarse base may hold: 12 MB


@dataclass(frozen=True)
class Summary:
    """What one pass over the matrix finds out, in stored order."""

    row_size: np.ndarray  # mean |x| of each row; the density of a mask
    column_size: np.ndarray
    low: float
    high: float
    mean: float
    broken: int  # NaN and infinite cells
    sample: np.ndarray


@dataclass(frozen=True)
class Pyramid:
    grid: Grid
    rows: np.ndarray | None  # orders, or None for the stored one
    columns: np.ndarray | None
    base_level: int
    base: np.ndarray

    @property
    def levels(self) -> int:
        """Until the whole matrix fits one tile."""
        return max(0, int(np.ceil(np.log2(max(*self.grid.shape, 1) / TILE)))) + 1

    def tile(self, level: int, row: int, column: int) -> np.ndarray:
        if not 0 <= level < self.levels:
            raise IndexError
        size = TILE << level
        top, left = row * size, column * size
        n_rows, n_columns = self.grid.shape
        if not (0 <= top < n_rows and 0 <= left < n_columns):
            raise IndexError
        bottom, right = min(top + size, n_rows), min(left + size, n_columns)
        if level >= self.base_level:
            f = 1 << self.base_level
            piece = self.base[top // f : -(-bottom // f), left // f : -(-right // f)]
            return pooled(piece, level - self.base_level)
        return pooled(self.cells(top, bottom, left, right), level)

    def cells(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Exact values, in the chosen order."""
        if self.rows is None and self.columns is None:
            return self.grid.block(top, bottom, left, right).astype(np.float32, copy=False)
        return _gather(self.grid, _span(self.rows, top, bottom), _span(self.columns, left, right))


def _span(order: np.ndarray | None, start: int, end: int) -> np.ndarray:
    return np.arange(start, end) if order is None else order[start:end]


def _gather(grid: Grid, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Sorted rows are read in runs, so that a memory map is walked forward."""
    whole = np.empty((len(rows), len(columns)), np.float32)
    walk = np.argsort(rows, kind="stable")
    for at in walk:
        row = int(rows[at])
        whole[at] = grid.block(row, row + 1)[0, columns]
    return whole


def pooled(cells: np.ndarray, level: int) -> np.ndarray:
    """Means over squares; at the right and lower edge over what is there. NaN cells are left out."""
    for _ in range(level):
        cells = _halved(_halved(cells).T).T
    return np.ascontiguousarray(cells, dtype=np.float32)


def _halved(cells: np.ndarray) -> np.ndarray:
    even = len(cells) // 2 * 2
    halves = (cells[0:even:2].astype(np.float32, copy=False) + cells[1:even:2]) * np.float32(0.5)
    return np.concatenate([halves, cells[even:]]) if even < len(cells) else halves


@lru_cache(maxsize=2)
def summary(grid: Grid) -> Summary:
    n_rows, n_columns = grid.shape
    row_size, column_size = np.zeros(n_rows), np.zeros(n_columns)
    low, high, total, broken, samples = np.inf, -np.inf, 0.0, 0, []
    for start, block in grid.chunks():
        if not grid.mask:
            finite = np.isfinite(block)
            if not finite.all():
                broken += int(block.size - finite.sum())
                block = np.where(finite, block, 0)
            total += float(block.sum(dtype=np.float64))
            low, high = min(low, float(block.min())), max(high, float(block.max()))
            samples.append(block.ravel()[:: max(1, block.size // 4000)].copy())
            np.abs(block, out=block)
        row_size[start : start + len(block)] = block.sum(axis=1, dtype=np.float32)
        column_size += block.sum(axis=0, dtype=np.float32)
    if grid.mask:
        low, high, total = 0.0, 1.0, float(row_size.sum())
    cells = max(n_rows * n_columns, 1)
    sample = np.concatenate(samples) if samples else np.zeros(0, np.float32)
    return Summary(
        row_size / max(n_columns, 1), column_size / max(n_rows, 1), low, high, total / cells, broken, sample
    )


@lru_cache(maxsize=2)
def _pyramid(grid: Grid, orders: "Orders") -> Pyramid:
    level = 2
    while (grid.shape[0] >> level) * (grid.shape[1] >> level) > BASE_CELLS:
        level += 1
    return Pyramid(grid, orders.rows, orders.columns, level, _base(grid, orders, level))


def pyramid(grid: Grid, rows: np.ndarray | None = None, columns: np.ndarray | None = None) -> Pyramid:
    return _pyramid(grid, Orders(rows, columns))


class Orders:
    """Two permutations as one key for the cache."""

    def __init__(self, rows: np.ndarray | None, columns: np.ndarray | None) -> None:
        self.rows, self.columns = rows, columns
        self._key = tuple(None if order is None else order.tobytes() for order in (rows, columns))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Orders) and self._key == other._key


def _base(grid: Grid, orders: Orders, level: int) -> np.ndarray:
    """Pooled by chunks of rows whose number is a multiple of the pool."""
    n_rows, _ = grid.shape
    step = 64 << level if grid.mask else 16 << level
    pieces = []
    for start in range(0, n_rows, step):
        end = min(start + step, n_rows)
        if orders.rows is None:
            block = grid.block(start, end)
        else:
            block = _picked_rows(grid, orders.rows[start:end])
        if orders.columns is not None:
            block = block[:, orders.columns]
        pieces.append(pooled(block, level))
    return np.concatenate(pieces) if pieces else np.zeros((0, 0), np.float32)


def _picked_rows(grid: Grid, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([grid.block(int(row), int(row) + 1) for row in rows])
