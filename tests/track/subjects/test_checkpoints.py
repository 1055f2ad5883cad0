"""Steps from names, weight spectra of files, and a tracker fed from stored states."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from digsite.base.errors import NotFound, UsageError
from digsite.data import load
from digsite.models import build, parse
from digsite.models.pretrained import load_model, save_model
from digsite.track import checkpoint_steps, observe_checkpoints, spectra, weight_change
from digsite.track.subjects.checkpoints import activation_series, series_of, weight_table


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
    with pytest.raises(UsageError, match="no checkpoint"):
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


def saved(folder: Path, config: dict, steps: list[int]) -> None:
    model = build(parse(config))
    for step in steps:
        with torch.no_grad():
            next(p for p in model.parameters() if p.ndim == 2)[:, :2].mul_(2)
        save_model(folder / f"step_{step}.safetensors", model)


def test_activations_of_stored_networks(tmp_path: Path) -> None:
    """What comes out is what the tracker sees of the same networks."""
    saved(tmp_path, {"kind": "mlp", "sizes": [64, 12, 10]}, [0, 10, 30])
    found = {(s.layer, s.measure): s for s in activation_series(checkpoint_steps(tmp_path), "digits")}
    series = found["layers.0", "centered/stable_rank"]
    assert series.steps.tolist() == [0, 10, 30] and not series.constant
    model = load_model(f"file:{tmp_path / 'step_30.safetensors'}")
    with torch.no_grad():
        hidden = model.layers[0](load("digits").x_test[:128].flatten(1))
    assert series.values[-1] == pytest.approx(spectra(hidden, warn=False)["centered/stable_rank"], rel=1e-3)


def test_tokens_for_language_models(tmp_path: Path) -> None:
    saved(tmp_path, {"kind": "induction", "vocab": 9, "context": 64, "d_model": 8, "n_heads": 2}, [1, 2])
    assert any(s.layer == "layers.0" for s in activation_series(checkpoint_steps(tmp_path), "repeated"))


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ("digts", "no probe 'digts'.*Did you mean 'digits'"),
        ("repeated", "reads none"),
        ("digits", "does not fit a Mlp"),
    ],
)
def test_probes_that_do_not_fit(tmp_path: Path, probe: str, message: str) -> None:
    saved(tmp_path, {"kind": "mlp", "sizes": [5, 4, 3]}, [0, 1])
    with pytest.raises(UsageError, match=message):
        activation_series(checkpoint_steps(tmp_path), probe)


def test_images_for_a_language_model_are_refused_in_one_sentence(tmp_path: Path) -> None:
    saved(tmp_path, {"kind": "induction", "vocab": 9, "context": 64, "d_model": 8, "n_heads": 2}, [1, 2])
    with pytest.raises(UsageError, match="made of images, and a .* reads tokens"):
        activation_series(checkpoint_steps(tmp_path), "digits")
