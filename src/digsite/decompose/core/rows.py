"""Rows of zeros all say the same: one stands for all of them, which is exact and makes sparse batches small."""

from torch import Tensor

ROUND = 16


def rows_needed(x: Tensor) -> int:
    """Rows that hold nearly every later batch (four standard deviations), rounded; a fuller batch takes more."""
    n = int(nonzero(x).sum(-1).max())
    return min(-(-(n + 1 + int(4 * n**0.5)) // ROUND) * ROUND, x.shape[-2])


def nonzero(x: Tensor) -> Tensor:
    return (x != 0).any(-1)


def merge_zero_rows(x: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """From (B, d) to (capacity, d) and how many rows each stands for; more rows when they do not fit."""
    filled = nonzero(x)
    n = int(filled.sum())
    if n >= capacity:
        capacity = min(-(-(n + 1) // ROUND) * ROUND, len(x))
    kept = filled.nonzero()[:, 0]
    merged = x.new_zeros(capacity, x.shape[1])
    merged[:n] = x[kept]
    counts = x.new_zeros(capacity)
    counts[:n] = 1
    if n < len(x):
        counts[n] = len(x) - n
    return merged, counts
