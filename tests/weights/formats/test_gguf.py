"""Quantized blocks against the package of the format's authors where it is there, and against hand-made blocks."""

import numpy as np
import pytest

from digsite.weights.formats import gguf
from digsite.weights.formats.gguf import BLOCKS, block_bytes, dequantize_blocks

QUANTIZED = (2, 3, 6, 7, 8, 12, 13, 14)


@pytest.mark.parametrize("kind", QUANTIZED)
def test_the_authors_package_gives_the_same_numbers(kind):
    gguf = pytest.importorskip("gguf")
    raw = np.random.default_rng(kind).integers(0, 256, (50, BLOCKS[kind].nbytes), dtype=np.uint8)
    for place in {14: (209,), 12: (1, 3), 13: (1, 3), 3: (1, 3), 7: (1, 3)}.get(kind, (1,)):
        raw[:, place] &= 0x3F  # scales that are finite
    theirs = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType(kind)).reshape(-1)
    assert np.array_equal(dequantize_blocks(raw.tobytes(), kind), theirs)


def test_a_block_of_eight_bits_is_scale_times_number():
    block = np.float16(0.5).tobytes() + np.arange(-16, 16, dtype=np.int8).tobytes()
    assert np.array_equal(dequantize_blocks(block, 8), 0.5 * np.arange(-16, 16))


def test_a_block_of_four_bits_has_its_low_halves_first():
    """Q4_0: byte b holds number b in its low half and number 16 + b in its high half, both less 8."""
    bytes_ = bytes((low | (15 - low) << 4) for low in range(16))
    found = dequantize_blocks(np.float16(2).tobytes() + bytes_, 2)
    assert np.array_equal(found[:16], 2.0 * (np.arange(16) - 8)) and np.array_equal(
        found[16:], 2.0 * (7 - np.arange(16))
    )


def test_a_block_of_six_bits():
    """Q6_K with all scales one: low halves, two high bits, less 32."""
    values = np.arange(256) % 64
    low, high = np.zeros(128, np.uint8), np.zeros(64, np.uint8)
    for i, v in enumerate(values):
        half, rest = divmod(i, 128)
        group, place = divmod(rest, 32)
        low[64 * half + 32 * (group % 2) + place] |= (v & 15) << (4 * (group // 2))
        high[32 * half + place] |= (v >> 4) << (2 * group)
    raw = low.tobytes() + high.tobytes() + np.ones(16, np.int8).tobytes() + np.float16(1).tobytes()
    assert np.array_equal(dequantize_blocks(raw, 14), values - 32.0)


def test_sizes():
    assert (
        block_bytes(8, (4, 64)) == 8 * 34
        and block_bytes(14, (2, 256)) == 2 * 210
        and block_bytes(1, (3,)) == 6
    )


@pytest.mark.parametrize("piece", [1, 64, 100])
def test_decoding_in_pieces_is_decoding(piece, monkeypatch):
    raw = np.random.default_rng(0).integers(0, 60, 20 * 24, dtype=np.uint8).tobytes()
    whole = dequantize_blocks(raw, 7)
    monkeypatch.setattr(gguf, "PIECE", piece)
    assert np.array_equal(dequantize_blocks(raw, 7), whole)
