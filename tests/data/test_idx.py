import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from digsite.base.errors import DigsiteError
from digsite.data.idx import TYPES, parse_idx, read_idx


def encode(array: np.ndarray, code: int) -> bytes:
    head = struct.pack(f">HBB{array.ndim}i", 0, code, array.ndim, *array.shape)
    return head + array.astype(TYPES[code]).tobytes()


@given(st.sampled_from(sorted(TYPES)), hnp.array_shapes(max_dims=4, max_side=5), st.integers(0, 99))
def test_every_type_and_shape_survives(code, shape, seed):
    array = np.random.default_rng(seed).integers(0, 100, shape).astype(TYPES[code])
    assert np.array_equal(parse_idx(encode(array, code), "x"), array)


@pytest.mark.parametrize("data", [b"", b"\0", b"\1\0\x08\1", b"\0\0\x07\1\0\0\0\0", b"PNG data"])
def test_something_else_is_named(data):
    with pytest.raises(DigsiteError, match="'x' is not an IDX file"):
        parse_idx(data, "x")


@pytest.mark.parametrize("cut", [6, 12, 20])
def test_a_cut_file_is_named(cut):
    with pytest.raises(DigsiteError, match=r"'x' is damaged|promises"):
        parse_idx(encode(np.zeros((3, 4), np.uint8), 8)[:cut], "x")


def test_a_cut_gzip_is_named(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(encode(np.arange(2000, dtype=np.uint8).reshape(20, 100), 8))[:-30])
    with pytest.raises(DigsiteError, match="is not a whole gzip file"):
        read_idx(path)
