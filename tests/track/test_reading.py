"""A run, checkpoints, or results: told apart, read, and judged; the verb prints it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from digsite.base.errors import UsageError
from digsite.track.api import read_target, track


def journal(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    (folder / "launch.yaml").write_text("study: x\n")
    values = np.r_[rng.standard_normal(60), 12 + rng.standard_normal(60)]
    lines = [json.dumps({"step": 10 * i, "layer1/rank": v}) for i, v in enumerate(values)]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 12']))
    return folder


def test_a_run(tmp_path: Path) -> None:
    found = read_target(journal(tmp_path), [], "edge")
    assert found.kind == "run"
    (jump,) = found.as_json()["jumps"]
    assert jump["layer"] == "layer1" and jump["low"] <= 600 <= jump["high"]
    with pytest.raises(UsageError, match="No measure contains 'sparsity'"):
        read_target(tmp_path, ["sparsity"], "edge")


def test_checkpoints(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    base = torch.randn(8, 8, generator=rng)
    for i in range(40):
        extra = 30.0 * torch.ones(8, 8) * (i >= 20)
        save_file(
            {"w": base + 0.01 * torch.randn(8, 8, generator=rng) + extra},
            tmp_path / f"step_{i * 5}.safetensors",
        )
    found = read_target(tmp_path, ["spectral_norm"], "edge")
    assert found.kind == "checkpoints"
    assert any(j["low"] <= 100 <= j["high"] for j in found.as_json()["jumps"])


def test_results_and_the_verb(tmp_path: Path) -> None:
    from digsite.cli.track import track_command

    (tmp_path / "a.json").write_text('{"rho": NaN}')
    shown = CliRunner().invoke(track_command, [str(tmp_path)])
    assert shown.exit_code == 0 and "bare NaN" in shown.output and "1 of them wrong" in shown.output
    data = CliRunner().invoke(track_command, [str(tmp_path), "--json"])
    assert json.loads(data.output)["findings"][0]["severity"] == "wrong"


def test_a_probe_needs_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no checkpoints"):
        read_target(tmp_path, [], "edge", "digits")


def test_small_language_models_are_run_on_repeated_tokens_unless_told_not_to(
    family_folders, tmp_path: Path
) -> None:
    for step in (0, 10, 20):
        shutil.copytree(family_folders["llama"], tmp_path / f"checkpoint-{step}")
        weights = load_file(tmp_path / f"checkpoint-{step}" / "model.safetensors")
        moved = {name: tensor + step * 1e-3 * torch.randn_like(tensor) for name, tensor in weights.items()}
        save_file(moved, tmp_path / f"checkpoint-{step}" / "model.safetensors", {"format": "pt"})
    usual, alone = track(tmp_path), track(tmp_path, probe="none")
    assert usual.probe == "repeated" and usual.short > alone.short and not alone.probe
    assert "activations on 'repeated'" in " ".join(usual.lines())
    (tmp_path / "checkpoint-10" / "config.json").write_text('{"model_type": "llama"}')
    assert track(tmp_path).short == alone.short, "weights are read where a network cannot be run"
