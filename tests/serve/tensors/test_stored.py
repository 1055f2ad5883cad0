"""Slices of safetensors files equal what the library reads."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from digsite.base.errors import NotFound, UsageError
from digsite.serve.tensors.stored import header, open_tensor

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
    tensors, metadata = header(path)
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
        header(path)


def test_what_is_not_safetensors_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(json.dumps({"a": 1}).encode())
    with pytest.raises(UsageError, match="not a safetensors file"):
        header(path)
