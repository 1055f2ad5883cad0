import gzip
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from digsite.base.errors import DigsiteError, NotFound
from digsite.data import load, names
from digsite.data.images import TYPES, parse_idx, read_idx


def test_digits_are_bundled_and_split_by_image():
    digits = load("digits")
    assert digits.image_shape == (1, 8, 8)
    assert (len(digits.x_train), len(digits.x_test), digits.n_classes) == (1000, 797, 10)
    assert digits.x_train.min() == 0 and digits.x_train.max() == 1
    assert torch.equal(digits.x_train, load("digits").x_train)
    assert torch.bincount(digits.y_train).min() > 80


def test_an_unknown_set_answers_with_the_nearest():
    with pytest.raises(NotFound, match=r"no image set 'fashion-mnist'.*'fashion_mnist'"):
        load("fashion-mnist")


def test_sets_are_found_by_scanning():
    assert {"digits", "mnist", "fashion_mnist", "kmnist", "qmnist", "cifar10", "usps"} <= set(names())


@pytest.mark.parametrize(
    ("name", "n_train", "shape"),
    [("mnist", 60000, (1, 28, 28)), ("usps", 7291, (1, 16, 16)), ("cifar10", 10000, (3, 32, 32))],
)
def test_real_sets(data_dir, monkeypatch, name, n_train, shape):
    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    found = load(name)
    assert len(found.x_train) == n_train and found.image_shape == shape
    assert float(found.x_train.amax()) == 1.0


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
