"""Verbs that print an answer keep it as a run, and print it all the same where none can be written."""

import json

import torch
from click.testing import CliRunner

from digsite.cli.read import read_command
from digsite.cli.track import track_command
from digsite.record import read_results, runs_in
from digsite.weights.writer import save_tensors


def write_model(path, seed=0):
    draw = torch.Generator().manual_seed(seed)
    shapes = {"0.weight": (24, 16), "0.bias": (24,), "2.weight": (10, 24), "2.bias": (10,)}
    save_tensors({name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}, path)
    return str(path)


def test_a_reading_is_a_run_with_its_tables_and_sentences(tmp_path):
    model = write_model(tmp_path / "model.safetensors")
    shown = CliRunner().invoke(read_command, [model, "--runs", str(tmp_path / "runs")])
    assert shown.exit_code == 0 and "kept as run" in shown.output
    (run,) = runs_in(tmp_path / "runs")
    results = read_results(run.results)
    assert results and results.verdict and run.path.parent.name == "read"
    assert (run.tables / "layers.csv").exists() and run.report.exists()
    assert model in run.plan()["purpose"]


def test_json_stays_one_document_and_is_kept_too(tmp_path):
    model = write_model(tmp_path / "model.safetensors")
    shown = CliRunner().invoke(read_command, [model, "--json", "--runs", str(tmp_path / "runs")])
    assert json.loads(shown.output)["answers"]
    assert len(list(runs_in(tmp_path / "runs"))) == 1


def test_jumps_of_checkpoints_are_kept(tmp_path):
    for step in range(12):
        write_model(tmp_path / f"model-step{step * 10:04d}.safetensors", seed=0)
    shown = CliRunner().invoke(track_command, [str(tmp_path), "--runs", str(tmp_path / "runs")])
    assert shown.exit_code == 0, shown.output
    (run,) = runs_in(tmp_path / "runs")
    assert read_results(run.results) and run.path.parent.name == "track"


def test_where_no_run_can_be_written_the_answer_stands(tmp_path):
    model = write_model(tmp_path / "model.safetensors")
    (tmp_path / "file").write_text("no folder")
    shown = CliRunner().invoke(read_command, [model, "--runs", str(tmp_path / "file" / "runs")])
    assert shown.exit_code == 0 and "not kept as a run" in shown.output


def test_a_pruning_and_a_graft_are_kept(tmp_path):
    from digsite.cli.graft import graft_command
    from digsite.cli.prune import prune_command

    runs = ["--runs", str(tmp_path / "runs")]
    model = write_model(tmp_path / "model.safetensors")
    out = str(tmp_path / "pruned")
    shown = CliRunner().invoke(
        prune_command, [model, "--method", "magnitude", "--sparsity", "0.5", "--out", out, *runs]
    )
    assert shown.exit_code == 0, shown.output
    other = write_model(tmp_path / "other.safetensors", seed=1)
    asked = [
        other,
        model,
        "--old",
        "0,1,2,3",
        "--shared",
        "2,3",
        "--new-class",
        "4",
        "--method",
        "direct_copy",
    ]
    shown = CliRunner().invoke(graft_command, [*asked, *runs])
    assert shown.exit_code == 0, shown.output
    kept = {run.path.parent.name: read_results(run.results) for run in runs_in(tmp_path / "runs")}
    assert kept.keys() == {"prune", "graft"} and all(one and one.verdict for one in kept.values())
