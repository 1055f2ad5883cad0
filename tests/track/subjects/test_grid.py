"""The grid has the original's 55 cells, and every cell builds and runs."""

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.models import build
from digsite.track.subjects import grid

FAMILIES = ("mlp", "cnn", "transformer")


def test_fifty_five_cells() -> None:
    cells = grid.list_cells(["mnist", "fashion_mnist", "usps", grid.TEXT], FAMILIES)
    assert len(cells) == 55
    assert [sum(c.family == f for c in cells) for f in FAMILIES] == [32, 9, 14]
    assert len(grid.list_cells(["digits"], ["cnn"])) == 3
    assert [c.arch for c in grid.list_cells(["digits"], FAMILIES, ["mlp_wide"])] == ["mlp_wide"]
    with pytest.raises(UsageError, match="'mlp_wider' is not a shape of the grid. Did you mean 'mlp_wide'"):
        grid.list_cells(["digits"], FAMILIES, ["mlp_wider"])


@pytest.mark.parametrize("dataset", ["digits", grid.TEXT])
def test_every_cell_runs_and_has_the_original_depth(dataset: str) -> None:
    task = grid.load_task(dataset, 40, 8, 0)
    for cell in grid.list_cells([dataset], FAMILIES):
        fitted = grid.fit_task(cell, task)
        model = build(grid.model_config(cell, fitted))
        logits = model(grid.cell_inputs(cell, fitted.x_train[:2]))
        assert logits.shape == (2, fitted.n_classes), cell.name
        if cell.arch == "mlp_verydeep_15":
            assert sum(isinstance(m, torch.nn.Linear) for m in model.modules()) == 16


def test_shrinking_and_enlarging() -> None:
    images = torch.rand(2, 1, 28, 28)
    assert grid.shrink_images(images, 8).shape == (2, 1, 8, 8)
    task = grid.GridTask(torch.rand(2, 1, 8, 8), torch.zeros(2), torch.rand(1, 1, 8, 8), torch.zeros(1), 10)
    assert grid.enlarge_task(task, 16).x_train.shape == (2, 1, 16, 16)
    assert grid.enlarge_task(task, 8) is task


def test_a_transformer_sees_as_many_patches_as_are_asked_for() -> None:
    cell = grid.Cell("transformer_narrow", "digits")
    task = grid.load_task("digits", 40, 8, 0)
    for patches in (2, 4):
        model = build(grid.model_config(cell, task, patches))
        assert model.config.image[-1] // model.config.patch == patches
        assert model(task.x_train[:2]).shape == (2, 10)
    with pytest.raises(UsageError, match="8 pixels a side cannot be cut into 3 patches"):
        grid.model_config(cell, task, 3)
