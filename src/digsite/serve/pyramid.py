"""A matrix at every zoom: means over 2^level x 2^level cells, cut into tiles; one pass over the file at opening."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from digsite.serve.tensor_files import Grid

TILE = 256
KEPT = 5  # matrices: the panels of one view, and one more
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
            return pool_cells(piece, level - self.base_level)
        return pool_cells(self.cells(top, bottom, left, right), level)

    def cells(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Exact values, in the chosen order."""
        if self.rows is None and self.columns is None:
            return self.grid.block(top, bottom, left, right).astype(np.float32, copy=False)
        return _gather_cells(self.grid, _span_of(self.rows, top, bottom), _span_of(self.columns, left, right))


def _span_of(order: np.ndarray | None, start: int, end: int) -> np.ndarray:
    return np.arange(start, end) if order is None else order[start:end]


def _gather_cells(grid: Grid, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Sorted rows are read in runs, so that a memory map is walked forward."""
    whole = np.empty((len(rows), len(columns)), np.float32)
    walk = np.argsort(rows, kind="stable")
    for at in walk:
        row = int(rows[at])
        whole[at] = grid.block(row, row + 1)[0, columns]
    return whole


def pool_cells(cells: np.ndarray, level: int) -> np.ndarray:
    """Means over squares; at the right and lower edge over what is there. NaN cells are left out."""
    for _ in range(level):
        cells = _halve_cells(_halve_cells(cells).T).T
    return np.ascontiguousarray(cells, dtype=np.float32)


def _halve_cells(cells: np.ndarray) -> np.ndarray:
    even = len(cells) // 2 * 2
    halves = (cells[0:even:2].astype(np.float32, copy=False) + cells[1:even:2]) * np.float32(0.5)
    return np.concatenate([halves, cells[even:]]) if even < len(cells) else halves


@lru_cache(maxsize=KEPT)
def sample_cells(grid: Grid) -> Summary:
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


@lru_cache(maxsize=KEPT)
def _build_pyramid(grid: Grid, orders: "Orders") -> Pyramid:
    level = 2
    while (grid.shape[0] >> level) * (grid.shape[1] >> level) > BASE_CELLS:
        level += 1
    return Pyramid(grid, orders.rows, orders.columns, level, _base_level(grid, orders, level))


def find_pyramid(grid: Grid, rows: np.ndarray | None = None, columns: np.ndarray | None = None) -> Pyramid:
    return _build_pyramid(grid, Orders(rows, columns))


class Orders:
    """Two permutations as one key for the cache."""

    def __init__(self, rows: np.ndarray | None, columns: np.ndarray | None) -> None:
        self.rows, self.columns = rows, columns
        self._key = tuple(None if order is None else order.tobytes() for order in (rows, columns))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Orders) and self._key == other._key


def _base_level(grid: Grid, orders: Orders, level: int) -> np.ndarray:
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
        pieces.append(pool_cells(block, level))
    return np.concatenate(pieces) if pieces else np.zeros((0, 0), np.float32)


def _picked_rows(grid: Grid, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([grid.block(int(row), int(row) + 1) for row in rows])


# A mask that chance makes of another's densities.

FITTED = 1024  # different densities that are told apart
ROUNDS, CLOSE = 60, 1e-7


@dataclass(frozen=True)
class Drawn:
    """A mask that keeps each weight by chance, with the densities of its row and its column in `like`.

    Of all random masks with these expected densities the widest. Rows are drawn when they are read, each from its own
    stream, so that every tile shows the same draw.
    """

    like: Grid
    seed: int = 0
    key: str = "null draw"
    dtype: str = "BOOL"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.like.shape

    def read(self, index: Any = ...) -> np.ndarray:
        rows, columns = index if isinstance(index, tuple) else (slice(None), slice(None))
        of_rows, of_columns = fit_densities(self.like)
        n_rows, n_columns = self.shape
        drawn = [
            np.random.default_rng((self.seed, row)).random(n_columns, np.float32)
            < _share(of_rows[row] + of_columns)
            for row in range(n_rows)[rows]
        ]
        return np.array(drawn, bool).reshape(len(drawn), n_columns)[:, columns]


@lru_cache(maxsize=KEPT)
def fit_densities(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds of rows and of columns whose sums give each row and each column of a mask its density (Newton steps)."""
    cells = sample_cells(grid)
    (rows, row_at, row_n), (columns, column_at, column_n) = map(
        _told_apart, (cells.row_size, cells.column_size)
    )
    a, b = np.zeros(len(rows)), np.zeros(len(columns))
    for _ in range(ROUNDS):
        off = [
            _step(rows, _share(a[:, None] + b), column_n, a),
            _step(columns, _share(b[:, None] + a), row_n, b),
        ]
        if max(off) < CLOSE:
            break
    return a[row_at], b[column_at]


def _told_apart(density: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Different densities, which of them each line has, and how many lines have it."""
    if len(np.unique(density)) > FITTED:
        density = np.round(density * FITTED) / FITTED
    return np.unique(density, return_inverse=True, return_counts=True)


def _step(wanted: np.ndarray, share: np.ndarray, weight: np.ndarray, odds: np.ndarray) -> float:
    """Moves `odds` toward `wanted` densities in place; tells how far off the worst was."""
    total = weight.sum()
    off = wanted - share @ weight / total
    slope = (share * (1 - share)) @ weight / total
    odds += np.clip(off / np.maximum(slope, 1e-9), -2, 2)
    np.clip(odds, -30, 30, out=odds)
    return float(np.abs(off).max(initial=0.0))


def _share(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


# The nearest rows or columns of one that was clicked, beside what their sizes alone would give.


@dataclass(frozen=True)
class Near:
    measure: str
    index: np.ndarray
    value: np.ndarray
    null: np.ndarray  # what two independent rows of these densities would show


def nearest_lines(grid: Grid, axis: str, index: int, k: int) -> Near:
    return _hamming_lines(grid, axis, index, k) if grid.mask else _cosine_lines(grid, axis, index, k)


def _hamming_lines(grid: Grid, axis: str, index: int, k: int) -> Near:
    """Counts of differing bits; two independent masks of densities p and q differ in p(1-q) + q(1-p) of them."""
    if axis == "rows":
        distance = _row_distances(grid, index)
        density, length = sample_cells(grid).row_size, grid.shape[1]
    else:
        column = np.concatenate([block[:, index] for _, block in grid.chunks()])
        distance = np.zeros(grid.shape[1], np.int64)
        for start, block in grid.chunks():
            distance += (block != column[start : start + len(block), None]).sum(axis=0)
        density, length = sample_cells(grid).column_size, grid.shape[0]
    p = density[index]
    chosen = _best_lines(distance, index, k)
    expected = length * (p * (1 - density) + density * (1 - p))
    return Near("differing bits", chosen, distance[chosen], expected[chosen])


def _row_distances(grid: Grid, index: int) -> np.ndarray:
    if not grid.bits:
        row = grid.block(index, index + 1)
        return np.concatenate([(block != row).sum(axis=1) for _, block in grid.chunks()])
    row, pieces = grid.packed(index, index + 1), []
    for start in range(0, grid.shape[0], 1024):
        block = grid.packed(start, min(start + 1024, grid.shape[0]))
        pieces.append(np.bitwise_count(block ^ row).sum(axis=1, dtype=np.int64))
    return np.concatenate(pieces)


def _cosine_lines(grid: Grid, axis: str, index: int, k: int) -> Near:
    """1 - cosine; independent directions are at 1."""
    rows = axis == "rows"
    if rows:
        line = grid.block(index, index + 1)[0]
        pairs = [(block @ line, (block * block).sum(axis=1)) for _, block in grid.chunks()]
        dots, squares = (np.concatenate(part) for part in zip(*pairs))
    else:
        dots, squares = np.zeros(grid.shape[1]), np.zeros(grid.shape[1])
        for _, block in grid.chunks():
            dots += block[:, index] @ block
            squares += (block * block).sum(axis=0)
    distance = 1 - dots / np.maximum(np.sqrt(squares * squares[index]), 1e-30)
    chosen = _best_lines(distance, index, k)
    return Near("1 − cosine", chosen, distance[chosen], np.ones(len(chosen)))


def _best_lines(distance: np.ndarray, index: int, k: int) -> np.ndarray:
    """Ties go to the lower index; the clicked one is left out by its index."""
    order = np.argsort(distance, kind="stable")
    return order[order != index][:k]
