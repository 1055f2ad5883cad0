"""The numpy engine: XOR and `bitwise_count` in cache-sized blocks."""

import numpy as np
from jaxtyping import Float, Int, UInt64

BLOCK_BYTES = 1 << 21  # a block of differences stays in the second-level cache


def measure_row(
    query: UInt64[np.ndarray, "words"], words: UInt64[np.ndarray, "features words"]
) -> np.ndarray:
    """Hamming distances (features,) of one packed row to all."""
    return np.bitwise_count(query ^ words).sum(axis=1, dtype=np.int32)


def measure_all(words: UInt64[np.ndarray, "features words"]) -> Int[np.ndarray, "features features"]:
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


def select_nearest(
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


def find_row_limits(scores: Float[np.ndarray, "rows n"], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Per row, the k-th smallest, and whether the next one equals it."""
    parted = np.partition(scores, k - 1, axis=1)
    limits = parted[:, k - 1 : k].copy()
    return limits, parted[:, k:].min(axis=1, initial=np.inf) == limits[:, 0]


# --- trades -----------------------------------------------------------------------------------------------

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LEVELS = 6  # binary places of a trade's coin
PLACES = np.uint64(32)


def mix_keys(x: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """splitmix64's finalizer: random numbers by address, the same in both engines."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def trade_rows(
    words: np.ndarray, first: np.ndarray, second: np.ndarray, keys: np.ndarray, n_bits: int
) -> None:
    """Every pair of rows redistributes the bits they do not share, each keeping its count (curveball).

    A coin is thrown for every such bit, then random bits are moved until the count is right: both steps leave the
    choice uniform among subsets of the right size.
    """
    a, b = words[first], words[second]
    differing, common = a ^ b, a & b
    wanted = np.bitwise_count(a & differing).sum(axis=1, dtype=np.int64)
    free = np.bitwise_count(differing).sum(axis=1, dtype=np.int64)
    places = (2 * wanted * (1 << LEVELS) + free) // np.maximum(2 * free, 1)
    chosen = _throw_all_coins(places, keys, words.shape[1]) & differing
    _mend_counts(chosen, differing, wanted, keys, n_bits)
    words[first] = common | chosen
    words[second] = common | (differing & ~chosen)


def _throw_all_coins(places: np.ndarray, keys: np.ndarray, n_words: int) -> UInt64[np.ndarray, "pairs words"]:
    """Bits set with probability places / 2^LEVELS."""
    everything = ~np.uint64(0)
    chosen = np.where(places >= 1 << LEVELS, everything, np.uint64(0))[:, None].repeat(n_words, axis=1)
    started = np.zeros(len(places), bool)
    address = np.arange(n_words, dtype=np.uint64)
    for level in range(LEVELS):
        bit = (places >> level & 1).astype(bool) & (places < 1 << LEVELS)
        started |= bit
        if not started.any():
            continue
        counter = address * np.uint64(LEVELS) + np.uint64(level + 1)
        fresh = mix_keys(keys[started, None] + counter * GOLDEN)
        old = chosen[started]
        chosen[started] = np.where(bit[started, None], old | fresh, old & fresh)
    return chosen


def _mend_counts(
    chosen: np.ndarray, differing: np.ndarray, wanted: np.ndarray, keys: np.ndarray, n_bits: int
) -> None:
    """Coins give nearly the wanted number of ones; single bits are flipped, at places the key names, until it
    is exact.
    """
    missing = wanted - np.bitwise_count(chosen).sum(axis=1, dtype=np.int64)
    left = np.flatnonzero(missing)
    attempt = chosen.shape[1] * LEVELS
    while len(left):
        attempt += 1
        step = np.array([attempt], np.uint64) * GOLDEN  # an array wraps silently, as it should
        bits = (mix_keys(keys[left] + step) >> PLACES) * np.uint64(n_bits) >> PLACES
        word, bit = (bits >> np.uint64(6)).astype(np.int64), np.uint64(1) << (bits & np.uint64(63))
        taken = (chosen[left, word] & bit) != 0
        adds = (missing[left] > 0) & ((differing[left, word] & bit) != 0) & ~taken
        drops = (missing[left] < 0) & taken
        moved = adds | drops
        chosen[left[moved], word[moved]] ^= bit[moved]
        missing[left[adds]] -= 1
        missing[left[drops]] += 1
        left = left[missing[left] != 0]
