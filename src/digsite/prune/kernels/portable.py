"""The numpy engine: XOR and `bitwise_count` in cache-sized blocks."""

import numpy as np
from jaxtyping import Int, UInt64

BLOCK_BYTES = 1 << 21  # a block of differences stays in the second-level cache


def row_distances(query: UInt64[np.ndarray, "words"], words: UInt64[np.ndarray, "features words"]) -> np.ndarray:
    return np.bitwise_count(query ^ words).sum(axis=1, dtype=np.int32)


def distance_matrix(words: UInt64[np.ndarray, "features words"]) -> Int[np.ndarray, "features features"]:
    """All pairwise Hamming distances; one half is counted, the other mirrored."""
    n, n_words = words.shape
    out = np.zeros((n, n), np.int32)
    step = max(1, BLOCK_BYTES // (8 * n_words))
    for i in range(n):
        for start in range(i + 1, n, step):
            block = words[start : start + step]
            out[i, start : start + step] = np.bitwise_count(words[i] ^ block).sum(axis=1, dtype=np.int32)
    out += out.T
    return out


def nearest(
    distances: Int[np.ndarray, "queries features"], own: Int[np.ndarray, "queries"], n: int
) -> tuple[Int[np.ndarray, "queries n"], Int[np.ndarray, "queries n"]]:
    """The n smallest of every row, ties to the lower index, entry `own[i]` of row i left out."""
    n_features = distances.shape[1]
    index = np.empty((len(distances), n), np.int32)
    positions = np.arange(n_features, dtype=np.int64)
    for i, row in enumerate(distances):
        key = row.astype(np.int64) * n_features + positions
        key[own[i]] = np.iinfo(np.int64).max
        best = np.partition(key, n - 1)[:n]
        best.sort()
        index[i] = best % n_features
    return np.take_along_axis(distances, index, axis=1).astype(np.int32), index
