"""The numba engine: a 4 x 4 tile of popcounts over half the matrix, then a counting selection of each row.

Written by hand because no package gives exact all-pairs neighbours with a stated tie rule: faiss scans every query
separately and does not say which of two equal distances comes first.
"""

from typing import Any

import numba
import numpy as np
from jaxtyping import Float, Int, UInt64
from numba import njit, types
from numba.extending import intrinsic

from digsite.prune.core.kernels.portable import GOLDEN, LEVELS, PLACES

EVERY = 8  # a row's first guess comes from every eighth score
STRETCH = 512  # rows of a column that are worked on at once
INFINITE = 0x7F800000  # the bits of the float infinity
BLOCK = 64  # rows of a block; two blocks of 11008-bit rows fit the second-level cache


@intrinsic
def _count_bits(typing_context: Any, word: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), codegen


popcount: Any = _count_bits  # called with the word alone: numba supplies the context


@njit(cache=True, nogil=True)
def measure_row(query, words):
    """Hamming distances (features,) of one packed row to all."""
    out = np.empty(words.shape[0], np.int32)
    for i in range(words.shape[0]):
        total = numba.uint64(0)
        for k in range(words.shape[1]):
            total += popcount(query[k] ^ words[i, k])
        out[i] = total
    return out


@njit(cache=True, nogil=True, inline="always")
def _measure_pair(words, i, j, out):
    """One distance, written at both places."""
    total = numba.uint64(0)
    for k in range(words.shape[1]):
        total += popcount(words[i, k] ^ words[j, k])
    out[i, j] = total
    out[j, i] = total


@njit(cache=True, nogil=True, inline="always")
def _measure_four(words, i, y0, y1, y2, y3, k, sums):
    """Unused lanes cost nothing: LLVM keeps the tuple in registers."""
    x = words[i, k]
    a, b, c, d = sums
    return a + popcount(x ^ y0), b + popcount(x ^ y1), c + popcount(x ^ y2), d + popcount(x ^ y3)


@njit(cache=True, nogil=True, inline="always")
def _store_lanes(out, i, j, sums):
    for lane in range(4):
        out[i, j + lane] = sums[lane]
        out[j + lane, i] = sums[lane]


@njit(cache=True, nogil=True)
def _measure_tile(words, i, j, out):
    """16 distances at once: every loaded word is used four times."""
    zero = numba.uint64(0)
    a = b = c = d = (zero, zero, zero, zero)
    for k in range(words.shape[1]):
        y0, y1, y2, y3 = words[j, k], words[j + 1, k], words[j + 2, k], words[j + 3, k]
        a = _measure_four(words, i, y0, y1, y2, y3, k, a)
        b = _measure_four(words, i + 1, y0, y1, y2, y3, k, b)
        c = _measure_four(words, i + 2, y0, y1, y2, y3, k, c)
        d = _measure_four(words, i + 3, y0, y1, y2, y3, k, d)
    _store_lanes(out, i, j, a)
    _store_lanes(out, i + 1, j, b)
    _store_lanes(out, i + 2, j, c)
    _store_lanes(out, i + 3, j, d)


@njit(cache=True, nogil=True)
def _fill_distances(words, out):
    """Tiles of 4 x 4 over the upper half, in blocks that stay in cache; the rest pair by pair."""
    n = words.shape[0]
    whole = n - n % 4
    for row_block in range(0, whole, BLOCK):
        for column_block in range(row_block, whole, BLOCK):
            for i in range(row_block, min(row_block + BLOCK, whole), 4):
                for j in range(max(column_block, i), min(column_block + BLOCK, whole), 4):
                    _measure_tile(words, i, j, out)
    for j in range(whole, n):
        for i in range(j + 1):
            _measure_pair(words, i, j, out)


def measure_all(words: UInt64[np.ndarray, "features words"]) -> Int[np.ndarray, "features features"]:
    """All pairwise Hamming distances, 16 bits each where they fit."""
    n, n_words = words.shape
    out = np.empty((n, n), np.uint16 if n_words * 64 < 1 << 16 else np.int32)
    _fill_distances(words, out)
    return out


@njit(cache=True, nogil=True)
def _count_at_most(row, limit):
    """By index: a loop over the values themselves is not vectorized and takes nine times as long."""
    count = np.int32(0)
    for i in range(row.shape[0]):
        count = np.int32(
            count + (row[i] <= limit)
        )  # numba would widen the sum to 64 bits, and the lanes with it
    return count


@njit(cache=True, nogil=True)
def _bisect_threshold(row, n):
    """The n-th smallest value by bisection: each probe is one vectorized pass."""
    low = np.int64(row.min())
    high = np.int64(row.max())
    while low < high:
        middle = (low + high) >> 1
        if _count_at_most(row, row.dtype.type(middle)) >= n:
            high = middle
        else:
            low = middle + 1
    return low


@njit(cache=True, nogil=True)
def _collect_at_most(row, limit, candidates):
    count = 0
    for c in range(row.shape[0]):
        candidates[count] = c
        count += np.int64(row[c] <= limit)
    return count


@njit(cache=True, nogil=True)
def _find_candidates(row, n, sample, candidates):
    """Indices of at least the n smallest, in order; the limit is guessed from every eighth entry, then made sure."""
    count = 0
    limit = np.int64(0)
    if sample.shape[0] >= 64:
        for q in range(sample.shape[0]):
            sample[q] = row[q * 8]
        limit = _bisect_threshold(sample, min(sample.shape[0], n // 8 + 2 * np.int64(np.sqrt(n / 8)) + 2))
        count = _collect_at_most(row, row.dtype.type(limit), candidates)
    if count < n:
        limit = _bisect_threshold(row, n)
        count = _collect_at_most(row, row.dtype.type(limit), candidates)
    return count, limit


@njit(cache=True, nogil=True)
def _sort_candidates(row, own, candidates, count, limit, tally, values, index):
    """Counting sort of the candidates by distance; stable, so ties stay in index order."""
    first = limit
    for q in range(count):
        first = min(first, np.int64(row[candidates[q]]))
    tally[first : limit + 1] = 0
    for q in range(count):
        tally[row[candidates[q]]] += np.int32(candidates[q] != own)
    total = 0
    for value in range(first, limit + 1):
        size = tally[value]
        tally[value] = total
        total += size
    for q in range(count):
        c = candidates[q]
        if c != own:
            slot = tally[row[c]]
            tally[row[c]] += 1
            if slot < values.shape[0]:
                values[slot] = row[c]
                index[slot] = c


@njit(cache=True, nogil=True)
def _select_rows(distances, own, n, largest, values, index):
    n_features = distances.shape[1]
    candidates = np.empty(n_features + 1, np.int32)
    sample = np.empty(n_features // 8, distances.dtype)
    tally = np.zeros(largest + 2, np.int32)
    for r in range(distances.shape[0]):
        count, limit = _find_candidates(distances[r], n + 1, sample, candidates)
        _sort_candidates(distances[r], own[r], candidates, count, limit, tally, values[r], index[r])


def select_nearest(
    distances: Int[np.ndarray, "queries features"], own: Int[np.ndarray, "queries"], n: int
) -> tuple[Int[np.ndarray, "queries n"], Int[np.ndarray, "queries n"]]:
    """The n smallest of every row, ties to the lower index, entry `own[i]` of row i left out."""
    values = np.empty((len(distances), n), np.int32)
    index = np.empty((len(distances), n), np.int32)
    _select_rows(distances, own, n, int(distances.max()), values, index)
    return values, index


@njit(cache=True, nogil=True)
def _find_limit(row, k, guess, step):
    """A value that exactly k of the row are at or below, or, where ties forbid it, the smallest with more.

    Each probe is one vectorized pass. Its place is interpolated between the last two, which for a spread-out row takes
    a third of the passes of bisection; every second probe bisects, so that no row can make it crawl.
    """
    low, below = np.int64(-1), np.int64(0)
    high, above = np.int64(INFINITE), np.int64(row.shape[0])
    probe = guess
    passes = 0
    while True:
        count = np.int64(_count_at_most(row, np.int32(probe)))
        if count == k:
            return probe, count
        if count < k:
            low, below = probe, count
        else:
            high, above = probe, count
        if high - low <= 1:
            return high, above
        passes += 1
        if passes <= 3:  # the neighbor's threshold and density are better known than the far ends
            probe = probe + np.int64(step * (k - count))
        elif passes % 2:
            probe = low + np.int64((high - low) * ((k - below) / (above - below)))
        else:
            probe = (low + high) >> 1
        probe = min(max(probe, low + 1), high - 1)


@njit(cache=True, nogil=True)
def _find_limits(bits, k, limits, tied):
    """Over bit patterns: they order as the non-negative floats do. Rows are alike, so each starts where the last ended."""
    ordered = np.sort(bits[0, ::EVERY])
    n, middle = ordered.shape[0], min(k // EVERY, ordered.shape[0] - 1)
    left, right = max(middle - n // 8, 0), min(middle + n // 8, n - 1)
    step = (np.float64(ordered[right]) - np.float64(ordered[left])) / max((right - left) * EVERY, 1)
    guess = np.int64(ordered[middle])
    for r in range(bits.shape[0]):
        guess, count = _find_limit(bits[r], k, guess, step)
        limits[r] = guess
        tied[r] = count > k


def find_row_limits(scores: Float[np.ndarray, "rows n"], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Per row of non-negative scores, a limit that at least k are at or below, and whether ties make it more than k."""
    limits, tied = np.empty(len(scores), np.int32), np.empty(len(scores), bool)
    _find_limits(scores.view(np.int32), k, limits, tied)
    return limits.view(np.float32)[:, None], tied


# --- SparseGPT's block: errors are paid in the order of the columns, product and difference rounded one by one ---------


@njit(cache=True, nogil=True)
def _pay_debts(column, inverse, errors, j, debtors, start, stop):
    """A stretch of column j, short enough for the first-level cache, takes up the errors of columns before it."""
    for i in debtors:
        share, error = inverse[i, j], errors[i, start:stop]
        for r in range(column.shape[0]):  # slices from 0: other indices are not vectorized
            column[r] -= share * error[r]


@njit(cache=True, nogil=True)
def catch_up(columns, inverse, errors, first, last):
    """What earlier columns owe to those of a block, before the block is swept."""
    for start in range(0, columns.shape[1], STRETCH):
        stop = min(start + STRETCH, columns.shape[1])
        for j in range(first, last):
            _pay_debts(columns[j, start:stop], inverse, errors, j, range(first), start, stop)


@njit(cache=True, nogil=True)
def _prune_column(column, gone, error, scale):
    for r in range(column.shape[0]):
        kept = np.float32(0) if gone[r] else column[r]
        error[r] = (column[r] - kept) / scale
        column[r] = kept


@njit(cache=True, nogil=True)
def sweep_columns(columns, inverse, pruned, errors, first, last):
    """OBS column by column: each pruned weight's error is carried to the columns after it."""
    for start in range(0, columns.shape[1], STRETCH):
        stop = min(start + STRETCH, columns.shape[1])
        for j in range(first, last):
            column = columns[j, start:stop]
            _pay_debts(column, inverse, errors, j, range(first, j), start, stop)
            _prune_column(column, pruned[j, start:stop], errors[j, start:stop], inverse[j, j])


# --- trades: the portable engine's algorithm, pair by pair, with the same random numbers -------------------


@njit(cache=True, nogil=True, inline="always")
def _mix_key(x):
    x = (x ^ (x >> numba.uint64(30))) * numba.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> numba.uint64(27))) * numba.uint64(0x94D049BB133111EB)
    return x ^ (x >> numba.uint64(31))


@njit(cache=True, nogil=True)
def _throw_coins(places, key, n_words, chosen):
    whole = np.int64(1) << LEVELS
    chosen[:] = ~numba.uint64(0) if places >= whole else numba.uint64(0)
    started = False
    for level in range(LEVELS):
        bit = (places >> level & 1) == 1 and places < whole
        started = started or bit
        if started:
            for w in range(n_words):
                fresh = _mix_key(key + numba.uint64(w * LEVELS + level + 1) * GOLDEN)
                chosen[w] = chosen[w] | fresh if bit else chosen[w] & fresh


@njit(cache=True, nogil=True)
def _mend_count(chosen, differing, missing, key, n_bits):
    attempt = chosen.shape[0] * LEVELS
    while missing != 0:
        attempt += 1
        bit_index = (
            (_mix_key(key + numba.uint64(attempt) * GOLDEN) >> PLACES) * numba.uint64(n_bits)
        ) >> PLACES
        word = np.int64(bit_index >> numba.uint64(6))
        bit = numba.uint64(1) << (bit_index & numba.uint64(63))
        taken = (chosen[word] & bit) != 0
        if missing > 0 and not taken and (differing[word] & bit) != 0:
            chosen[word] ^= bit
            missing -= 1
        elif missing < 0 and taken:
            chosen[word] ^= bit
            missing += 1


@njit(cache=True, nogil=True)
def _trade_pair(a, b, key, n_bits, differing, chosen):
    """Two rows share out the positions in which they differ, at random and with both counts kept."""
    n_words = a.shape[0]
    wanted = np.int64(0)
    free = np.int64(0)
    for w in range(n_words):
        differing[w] = a[w] ^ b[w]
        free += np.int64(popcount(differing[w]))
        wanted += np.int64(popcount(a[w] & differing[w]))
    if free == 0:
        return
    _throw_coins((2 * wanted * (1 << LEVELS) + free) // (2 * free), key, n_words, chosen)
    count = np.int64(0)
    for w in range(n_words):
        chosen[w] &= differing[w]
        count += np.int64(popcount(chosen[w]))
    _mend_count(chosen, differing, wanted - count, key, n_bits)
    for w in range(n_words):
        common = a[w] & b[w]
        a[w] = common | chosen[w]
        b[w] = common | (differing[w] & ~chosen[w])


@njit(cache=True, nogil=True)
def trade_rows(words, first, second, keys, n_bits):
    """See the portable engine: the same bits for the same keys."""
    differing = np.empty(words.shape[1], np.uint64)
    chosen = np.empty(words.shape[1], np.uint64)
    for pair in range(first.shape[0]):
        _trade_pair(words[first[pair]], words[second[pair]], keys[pair], n_bits, differing, chosen)
