"""Tiles at every zoom are the means of the cells below them."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from digsite.serve import pyramid as module
from digsite.serve.pyramid import TILE, Drawn, find_pyramid, pool_cells, sample_cells
from digsite.serve.tensor_files import Grid, open_tensor


def grid_of(path, array, bits=0):
    save_file({"w": torch.from_numpy(array)}, path)
    return Grid(open_tensor(path, "w"), bits=bits)


def assembled(found, level):
    """The whole level, tile by tile."""
    rows, columns = found.grid.shape
    size = TILE << level
    return np.block(
        [[found.tile(level, r, c) for c in range(-(-columns // size))] for r in range(-(-rows // size))]
    )


def test_every_level_is_pooled_from_the_cells(tmp_path):
    values = np.random.default_rng(0).normal(size=(520, 1032)).astype(np.float32)
    found = find_pyramid(grid_of(tmp_path / "x.safetensors", values))
    assert found.levels == 4
    for level in range(4):
        f = 2**level
        expected = values.reshape(520 // f, f, 1032 // f, f).mean(axis=(1, 3))
        assert np.allclose(assembled(found, level), expected, atol=1e-5), level


@pytest.mark.parametrize("packed", [True, False])
def test_orders_move_rows_and_columns(tmp_path, packed):
    rng = np.random.default_rng(1)
    keep = rng.random((300, 520)) < rng.random((300, 1))
    array = np.packbits(keep, axis=1, bitorder="little") if packed else keep
    grid = grid_of(tmp_path / "x.safetensors", array, 520 if packed else 0)
    rows, columns = rng.permutation(300), rng.permutation(520)
    found = find_pyramid(grid, rows, columns)
    moved = keep[rows][:, columns].astype(float)
    assert np.array_equal(assembled(found, 0), moved)
    f = 4
    assert np.allclose(assembled(found, 2), moved.reshape(300 // f, f, 520 // f, f).mean(axis=(1, 3)))
    assert np.array_equal(found.cells(7, 9, 3, 6), moved[7:9, 3:6])


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (3, 700), (257, 1)])
def test_odd_shapes_lose_nothing_at_the_edge(tmp_path, shape):
    values = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    found = find_pyramid(grid_of(tmp_path / "x.safetensors", values))
    assert np.array_equal(assembled(found, 0), values)
    top = found.tile(found.levels - 1, 0, 0)
    assert top.size and np.isfinite(top).all()


def test_tiles_outside_are_refused(tmp_path):
    found = find_pyramid(grid_of(tmp_path / "x.safetensors", np.zeros((300, 300), np.float32)))
    for wrong in ((0, 2, 0), (0, 0, 2), (2, 0, 0), (-1, 0, 0)):
        with pytest.raises(IndexError):
            found.tile(*wrong)


def test_big_matrices_get_a_coarser_base(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BASE_CELLS", 1000)
    values = np.random.default_rng(3).normal(size=(512, 512)).astype(np.float32)
    found = find_pyramid(grid_of(tmp_path / "x.safetensors", values))
    assert found.base_level == 5
    assert np.allclose(assembled(found, 1), values.reshape(256, 2, 256, 2).mean(axis=(1, 3)), atol=1e-6)


def test_summary_of_numbers_and_masks(tmp_path):
    values = np.random.default_rng(4).normal(size=(50, 30)).astype(np.float32)
    values[3, 4], values[5, 6] = np.nan, np.inf
    found = sample_cells(grid_of(tmp_path / "x.safetensors", values))
    clean = np.where(np.isfinite(values), values, 0)
    assert found.broken == 2
    assert (found.low, found.high) == (clean.min(), clean.max())
    assert np.allclose(found.row_size, np.abs(clean).mean(axis=1), atol=1e-6)
    keep = np.random.default_rng(5).random((40, 77)) < 0.3
    mask = sample_cells(grid_of(tmp_path / "m.safetensors", np.packbits(keep, axis=1, bitorder="little"), 77))
    assert np.allclose(mask.column_size, keep.mean(axis=0)) and mask.mean == pytest.approx(keep.mean())


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "x.safetensors"
    assert sample_cells(grid_of(path, np.zeros((4, 4), np.float32))).high == 0
    import os

    grid_of(path, np.ones((4, 4), np.float32))
    os.utime(path, ns=(1, 1))
    assert sample_cells(Grid(open_tensor(path, "w"))).high == 1


def test_pooling_leaves_a_single_cell_alone():
    assert pool_cells(np.array([[3.0]]), 5) == np.array([[3.0]])


def test_a_drawn_mask_has_the_densities_of_the_other_and_nothing_else(tmp_path):
    """Every row and column within four standard deviations of its own density, in any order of reading; a block of zeros stays empty."""
    rng = np.random.default_rng(4)
    share = rng.uniform(0.1, 0.9, (200, 1)) * rng.uniform(0.3, 1.0, (1, 600))
    keep = rng.random((200, 600)) < share
    keep[7], keep[:, 9] = False, False
    drawn = Grid(Drawn(grid_of(tmp_path / "x.safetensors", keep)))
    cells = drawn.block(0, 200)
    assert cells.dtype == bool and cells.shape == keep.shape
    for axis in (0, 1):
        off = cells.mean(axis) - keep.mean(axis)
        assert np.abs(off).max() < 4 * 0.5 / np.sqrt(keep.shape[axis])
        assert abs(off.mean()) < 0.01
    assert not cells[7].any() and not cells[:, 9].any()
    agreed = (cells == keep).mean()
    assert abs(agreed - (share**2 + (1 - share) ** 2).mean()) < 0.02  # as two independent draws agree
    assert np.array_equal(drawn.block(50, 60, 100, 130), cells[50:60, 100:130])


def test_a_mask_whose_rows_all_keep_as_much_is_drawn_by_its_columns(tmp_path):
    keep = np.zeros((64, 40), bool)
    keep[:, :10] = True
    assert np.array_equal(Grid(Drawn(grid_of(tmp_path / "x.safetensors", keep))).block(0, 64), keep)
