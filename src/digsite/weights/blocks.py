"""Quantized blocks of GGUF: 32 or 256 numbers share a scale, and are turned back into float32."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

Rows = UInt8[np.ndarray, "blocks bytes"]
Numbers = Float[np.ndarray, "blocks numbers"]


@dataclass(frozen=True)
class Block:
    """`count` numbers lie in `nbytes` bytes."""

    name: str
    count: int
    nbytes: int
    decode: Callable[[Rows], np.ndarray]


def dequantize(raw: bytes, kind: int) -> Float[np.ndarray, "numbers"]:
    """All numbers of a tensor from its bytes."""
    block = BLOCKS[kind]
    rows = np.frombuffer(raw, np.uint8).reshape(-1, block.nbytes)
    return block.decode(rows).astype(np.float32).reshape(-1)


def block_bytes(kind: int, shape: tuple[int, ...]) -> int:
    """How many bytes a tensor of this shape takes."""
    block, n = BLOCKS[kind], 1
    for side in shape:
        n *= side
    return -(-n // block.count) * block.nbytes


def _half(rows: Rows, start: int) -> np.ndarray:
    """One 16-bit float of every block."""
    return rows[:, start : start + 2].copy().view("<f2").astype(np.float32)


def _nibbles(rows: Rows, start: int, stop: int) -> np.ndarray:
    """Low halves of all bytes, then their high halves."""
    part = rows[:, start:stop]
    return np.concatenate([part & 15, part >> 4], axis=1).astype(np.float32)


def _fifth_bits(rows: Rows, start: int) -> np.ndarray:
    return np.unpackbits(rows[:, start : start + 4], axis=1, bitorder="little").astype(np.float32) * 16


def _q4_0(rows: Rows) -> np.ndarray:
    return _half(rows, 0) * (_nibbles(rows, 2, 18) - 8)


def _q4_1(rows: Rows) -> np.ndarray:
    return _half(rows, 0) * _nibbles(rows, 4, 20) + _half(rows, 2)


def _q5_0(rows: Rows) -> np.ndarray:
    return _half(rows, 0) * (_nibbles(rows, 6, 22) + _fifth_bits(rows, 2) - 16)


def _q5_1(rows: Rows) -> np.ndarray:
    return _half(rows, 0) * (_nibbles(rows, 8, 24) + _fifth_bits(rows, 4)) + _half(rows, 2)


def _q8_0(rows: Rows) -> np.ndarray:
    return _half(rows, 0) * rows[:, 2:34].copy().view(np.int8).astype(np.float32)


def _packed_scales(rows: Rows, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight scales and eight minima of six bits each in twelve bytes."""
    low, mid, high = (rows[:, start + 4 * i : start + 4 * i + 4] for i in range(3))
    scales = np.concatenate([low & 63, (high & 15) | ((low >> 6) << 4)], axis=1)
    minima = np.concatenate([mid & 63, (high >> 4) | ((mid >> 6) << 4)], axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def _grouped_nibbles(rows: Rows, start: int) -> np.ndarray:
    """Eight groups of 32: each 32 bytes hold two groups, the first in their low halves."""
    part = rows[:, start : start + 128].reshape(len(rows), 4, 1, 32)
    return np.concatenate([part & 15, part >> 4], axis=2).reshape(len(rows), 8, 32).astype(np.float32)


def _q4_k(rows: Rows) -> np.ndarray:
    scales, minima = _packed_scales(rows, 4)
    value = (_half(rows, 0) * scales)[:, :, None] * _grouped_nibbles(rows, 16)
    return (value - (_half(rows, 2) * minima)[:, :, None]).reshape(len(rows), 256)


def _q5_k(rows: Rows) -> np.ndarray:
    scales, minima = _packed_scales(rows, 4)
    high = rows[:, 16:48].reshape(len(rows), 1, 32) >> np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    value = _grouped_nibbles(rows, 48) + 16.0 * (high & 1)
    scaled = (_half(rows, 0) * scales)[:, :, None] * value
    return (scaled - (_half(rows, 2) * minima)[:, :, None]).reshape(len(rows), 256)


def _q6_k(rows: Rows) -> np.ndarray:
    low = rows[:, :128].reshape(len(rows), 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(len(rows), 8, 32)
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    high = ((rows[:, 128:192].reshape(len(rows), 2, 1, 32) >> shifts) & 3).reshape(len(rows), 8, 32)
    value = (low | (high << 4)).astype(np.float32).reshape(len(rows), 16, 16) - 32
    scales = rows[:, 192:208].copy().view(np.int8).astype(np.float32)
    return ((_half(rows, 208) * scales)[:, :, None] * value).reshape(len(rows), 256)


def _plain(dtype: str) -> Callable[[Rows], np.ndarray]:
    return lambda rows: rows.reshape(-1).view(dtype).astype(np.float32).reshape(len(rows), -1)


def _bfloat16(rows: Rows) -> np.ndarray:
    return (rows.reshape(-1).view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(len(rows), -1)


BLOCKS = {
    0: Block("F32", 1, 4, _plain("<f4")),
    1: Block("F16", 1, 2, _plain("<f2")),
    2: Block("Q4_0", 32, 18, _q4_0),
    3: Block("Q4_1", 32, 20, _q4_1),
    6: Block("Q5_0", 32, 22, _q5_0),
    7: Block("Q5_1", 32, 24, _q5_1),
    8: Block("Q8_0", 32, 34, _q8_0),
    12: Block("Q4_K", 256, 144, _q4_k),
    13: Block("Q5_K", 256, 176, _q5_k),
    14: Block("Q6_K", 256, 210, _q6_k),
    24: Block("I8", 1, 1, _plain("i1")),
    25: Block("I16", 1, 2, _plain("<i2")),
    26: Block("I32", 1, 4, _plain("<i4")),
    28: Block("F64", 1, 8, _plain("<f8")),
    30: Block("BF16", 1, 2, _bfloat16),
}
