"""A run, checkpoints, or results: told apart, read, and judged; the verb prints it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from digsite.base.errors import UsageError
from digsite.track.api import read_target


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
