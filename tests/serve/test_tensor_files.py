"""Slices of safetensors files equal what the library reads."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from digsite.base.errors import NotFound, UsageError
from digsite.serve.tensor_files import Grid, open_tensor, read_header

TYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_reads_back(tmp_path, dtype):
    values = (
        torch.randint(0, 2, (7, 5)).to(dtype) if dtype is torch.bool else (torch.randn(7, 5) * 9).to(dtype)
    )
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(3), "b": values}, path, metadata={"made": "here"})
    tensors, metadata = read_header(path)
    assert metadata == {"made": "here"} and tensors["b"].shape == (7, 5)
    assert np.array_equal(tensors["b"].read().astype(float), values.double().numpy())
    assert np.array_equal(
        tensors["b"].read((slice(2, 4), slice(1, 3))).astype(float), values[2:4, 1:3].double().numpy()
    )


def test_scalars_and_empty_tensors(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"s": torch.tensor(3.0), "e": torch.zeros(0, 4)}, path)
    assert float(open_tensor(path, "s").read()) == 3.0
    assert open_tensor(path, "e").read().shape == (0, 4)


def test_names_are_found_or_suggested(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    assert open_tensor(path, "").key == "weight"
    with pytest.raises(NotFound, match="Did you mean 'weight'"):
        open_tensor(path, "weigt")


def test_a_cut_file_is_said_to_be_cut(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"w": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match="cut or broken at 'w'"):
        read_header(path)


def test_what_is_not_safetensors_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(json.dumps({"a": 1}).encode())
    with pytest.raises(UsageError, match="not a safetensors file"):
        read_header(path)


# A tensor as a matrix, packed or not.


def stored(path, tensor):
    save_file({"w": tensor.contiguous()}, path)
    return open_tensor(path, "w")


@given(st.integers(1, 9), st.integers(1, 40), st.data())
def test_packed_bits_unpack_to_the_mask(tmp_path_factory, rows, columns, data):
    rng = np.random.default_rng(rows * 100 + columns)
    keep = rng.random((rows, columns)) < 0.5
    path = tmp_path_factory.mktemp("bits") / "x.safetensors"
    grid = Grid(stored(path, torch.from_numpy(np.packbits(keep, axis=1, bitorder="little"))), bits=columns)
    top = data.draw(st.integers(0, rows - 1))
    left = data.draw(st.integers(0, columns - 1))
    right = data.draw(st.integers(left + 1, columns))
    assert grid.shape == keep.shape and grid.mask
    assert np.array_equal(grid.block(top, rows, left, right), keep[top:, left:right])


def test_packed_words_of_64_bits(tmp_path):
    keep = np.random.default_rng(0).random((3, 100)) < 0.3
    padded = np.zeros((3, 16), np.uint8)
    padded[:, :13] = np.packbits(keep, axis=1, bitorder="little")
    words = torch.from_numpy(padded.view(np.int64).copy())
    grid = Grid(stored(tmp_path / "x.safetensors", words), bits=100)
    assert np.array_equal(grid.block(0, 3), keep)


def test_slices_of_more_axes_and_single_rows(tmp_path):
    values = torch.randn(2, 3, 4, 5)
    grid = Grid(stored(tmp_path / "x.safetensors", values), lead=(1, 2))
    assert np.array_equal(grid.block(1, 3, 2, 5), values[1, 2, 1:3, 2:5].numpy())
    row = Grid(stored(tmp_path / "y.safetensors", values[0, 0, 0]))
    assert row.shape == (1, 5) and np.array_equal(row.block(0, 1, 1, 4)[0], values[0, 0, 0, 1:4].numpy())


def test_chunks_walk_through_everything(tmp_path, monkeypatch):
    from digsite.serve import tensor_files as module

    monkeypatch.setattr(module, "CHUNK", 300)
    values = torch.randn(101, 3)
    pieces = list(Grid(stored(tmp_path / "x.safetensors", values)).chunks())
    assert len(pieces) > 1
    assert np.array_equal(np.concatenate([p for _, p in pieces]), values.numpy())


@pytest.mark.parametrize("bad", [{"lead": (0,)}, {"bits": 99}])
def test_senseless_views_are_refused(tmp_path, bad):
    with pytest.raises(UsageError):
        Grid(stored(tmp_path / "x.safetensors", torch.zeros(2, 3, dtype=torch.uint8)), **bad)
