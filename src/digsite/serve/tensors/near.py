"""The nearest rows or columns of one that was clicked, beside what their sizes alone would give."""

from dataclasses import dataclass

import numpy as np

from digsite.serve.tensors.grid import Grid
from digsite.serve.tensors.pyramid import summary


@dataclass(frozen=True)
class Near:
    measure: str
    index: np.ndarray
    value: np.ndarray
    null: np.ndarray  # what two independent rows of these densities would show


def nearest(grid: Grid, axis: str, index: int, k: int) -> Near:
    return _hamming(grid, axis, index, k) if grid.mask else _cosine(grid, axis, index, k)


def _hamming(grid: Grid, axis: str, index: int, k: int) -> Near:
    """Counts of differing bits; two independent masks of densities p and q differ in p(1-q) + q(1-p) of them."""
    if axis == "rows":
        distance = _row_distances(grid, index)
        density, length = summary(grid).row_size, grid.shape[1]
    else:
        column = np.concatenate([block[:, index] for _, block in grid.chunks()])
        distance = np.zeros(grid.shape[1], np.int64)
        for start, block in grid.chunks():
            distance += (block != column[start : start + len(block), None]).sum(axis=0)
        density, length = summary(grid).column_size, grid.shape[0]
    p = density[index]
    chosen = _best(distance, index, k)
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


def _cosine(grid: Grid, axis: str, index: int, k: int) -> Near:
    """1 - cosine; independent directions are at 1."""
    rows = axis == "rows"
    if rows:
        one = grid.block(index, index + 1)[0]
        pairs = [(block @ one, (block * block).sum(axis=1)) for _, block in grid.chunks()]
        dots, squares = (np.concatenate(part) for part in zip(*pairs))
    else:
        dots, squares = np.zeros(grid.shape[1]), np.zeros(grid.shape[1])
        for _, block in grid.chunks():
            dots += block[:, index] @ block
            squares += (block * block).sum(axis=0)
    distance = 1 - dots / np.maximum(np.sqrt(squares * squares[index]), 1e-30)
    chosen = _best(distance, index, k)
    return Near("1 − cosine", chosen, distance[chosen], np.ones(len(chosen)))


def _best(distance: np.ndarray, index: int, k: int) -> np.ndarray:
    """Ties go to the lower index; the clicked one is left out by its index."""
    order = np.argsort(distance, kind="stable")
    return order[order != index][:k]
