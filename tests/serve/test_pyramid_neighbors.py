"""Neighbors equal those of scikit-learn, and the null is what independent masks show."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.metrics import pairwise_distances

from digsite.serve.pyramid import nearest_lines
from digsite.serve.tensor_files import Grid, open_tensor


def grid_of(path, array, bits=0):
    save_file({"w": torch.from_numpy(array)}, path)
    return Grid(open_tensor(path, "w"), bits=bits)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_hamming(tmp_path, packed, axis):
    keep = np.random.default_rng(0).random((60, 83)) < 0.4
    array = np.packbits(keep, axis=1, bitorder="little") if packed else keep
    found = nearest_lines(grid_of(tmp_path / "x.safetensors", array, 83 if packed else 0), axis, 11, 9)
    side = keep if axis == "rows" else keep.T
    distances = (
        (pairwise_distances(side[11:12], side, metric="hamming")[0] * side.shape[1]).round().astype(int)
    )
    order = np.argsort(distances, kind="stable")
    assert list(found.index) == [i for i in order if i != 11][:9]
    assert list(found.value) == list(distances[found.index])


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_cosine(tmp_path, axis):
    values = np.random.default_rng(1).normal(size=(40, 25)).astype(np.float32)
    found = nearest_lines(grid_of(tmp_path / "x.safetensors", values), axis, 3, 5)
    side = values if axis == "rows" else values.T
    distances = pairwise_distances(side[3:4], side, metric="cosine")[0]
    assert list(found.index) == [i for i in np.argsort(distances) if i != 3][:5]
    assert np.allclose(found.value, distances[found.index], atol=1e-5)


def test_the_null_is_what_independent_masks_show(tmp_path):
    rng = np.random.default_rng(2)
    keep = rng.random((400, 2000)) < rng.uniform(0.2, 0.8, (400, 1))
    found = nearest_lines(grid_of(tmp_path / "x.safetensors", keep), "rows", 0, 399)
    assert abs(float((found.value - found.null).mean())) < 3 * np.sqrt(500 / 399) * 3
