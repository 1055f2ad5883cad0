"""Steps from names, weight spectra of files, and a tracker fed from stored states."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from digsite.base.errors import NotFound, UsageError
from digsite.track import checkpoint_steps, observe_checkpoints, weight_change
from digsite.track.checkpoints import series_of, weight_table


def stored(folder: Path, steps: list[int]) -> dict[int, torch.Tensor]:
    kept = {}
    for step in steps:
        kept[step] = torch.randn(6, 4, generator=torch.Generator().manual_seed(step))
        save_file({"w": kept[step], "b": torch.zeros(3)}, folder / f"step_{step}.safetensors")
    return kept


def test_log_spaced_steps_in_order(tmp_path: Path) -> None:
    stored(tmp_path, [1000, 0, 2, 16, 512])
    assert [step for step, _ in checkpoint_steps(tmp_path)] == [0, 2, 16, 512, 1000]


def test_weight_spectra_of_files(tmp_path: Path) -> None:
    kept = stored(tmp_path, [0, 5, 50])
    table = weight_table(checkpoint_steps(tmp_path))
    assert set(table.layer) == {"w"}
    last = table[(table.step == 50) & (table.measure == "update/norm")].value.item()
    assert last == pytest.approx(weight_change(kept[0], kept[50]).l2_norm, rel=1e-5)
    assert all(series.steps.tolist() == [0, 5, 50] for series in series_of(table))


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        checkpoint_steps(tmp_path / "none")
    with pytest.raises(UsageError, match="0 checkpoints"):
        checkpoint_steps(tmp_path)
    stored(tmp_path, [1, 2])
    (tmp_path / "other-2").mkdir()
    with pytest.raises(UsageError, match="both of step 2"):
        checkpoint_steps(tmp_path)


def test_another_shape_is_another_run(tmp_path: Path) -> None:
    stored(tmp_path, [0])
    save_file({"w": torch.zeros(2, 2)}, tmp_path / "step_9.safetensors")
    with pytest.raises(UsageError, match="changes shape at step 9"):
        weight_table(checkpoint_steps(tmp_path))


def test_a_tracker_over_states() -> None:
    model = nn.Linear(4, 6, bias=False)
    states = [
        (s, {"weight": torch.randn(6, 4, generator=torch.Generator().manual_seed(s))}) for s in (3, 8, 100)
    ]
    tracker = observe_checkpoints(model, torch.randn(30, 4), states)
    assert tracker.series("stable_rank")[0].steps.tolist() == [3, 8, 100]
    with pytest.raises(UsageError, match="no checkpoints"):
        observe_checkpoints(model, torch.randn(30, 4), [])
