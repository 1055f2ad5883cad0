"""What was seen once, wrong and mostly without a word: a number that was off, a file that did not last, a fact not told."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from digsite.base import atomic
from digsite.base.errors import UsageError
from digsite.prune.core.matrix import relative_error
from digsite.studies import find_study
from digsite.studies.plan import plan_run, start_run
from digsite.track import spectra
from digsite.worker.checkpoints import save_tree
from digsite.worker.execute import How, execute_run


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_a_common_offset_leaves_the_dimension_of_the_centered_rows(offset):
    """Against the centered table itself, in double precision; in single a quarter of 28.1 was lost."""
    rows = torch.randn(300, 40, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.2, 1, 40)
    moved = (rows + offset).double()
    values = torch.linalg.svdvals(moved - moved.mean(0)) ** 2
    found = spectra(rows + offset, warn=False)["centered/participation_ratio_variance"]
    assert found == pytest.approx(float(values.sum() ** 2 / (values**2).sum()), rel=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e12, 1e18])
def test_an_error_that_overflows_is_no_perfect_answer(scale):
    draw = torch.Generator().manual_seed(0)
    weight, x = torch.randn(6, 8, generator=draw), torch.randn(50, 8, generator=draw)
    after, gram = weight.masked_fill(weight.abs() < 0.7, 0), x.T @ x
    wide = (weight * scale, after * scale, gram)
    assert relative_error(*wide) == pytest.approx(relative_error(weight, after, gram), rel=1e-4)
    with pytest.raises(UsageError, match="too large"):
        relative_error(weight, after, gram * 1e38 * 10)


def test_a_network_of_nan_is_not_called_clean(call, tmp_path):
    whole = {"0.weight": torch.randn(8, 6), "0.bias": torch.zeros(8), "2.weight": torch.randn(4, 8)}
    whole["2.bias"] = torch.zeros(4)
    save_file(whole, tmp_path / "well.safetensors")
    save_file({**whole, "0.weight": whole["0.weight"] * float("nan")}, tmp_path / "nan.safetensors")
    assert call("graft", "--inspect", tmp_path / "well.safetensors")[0] == 0
    code, said, errors = call("graft", "--inspect", tmp_path / "nan.safetensors")
    assert code in (1, 2) and "NaN or infinite" in errors and "clean" not in said


def test_what_must_last_is_synced_with_the_folder_that_names_it(tmp_path, monkeypatch):
    """A file first, then its name: without the second a power cut leaves the old one, or an empty one."""
    synced: list[Path] = []
    plain = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    atomic.write_json(tmp_path / "plan.json", {"a": 1}, fsync=True)
    assert synced[0].name.startswith(".plan.json") and synced[1] == tmp_path
    synced.clear()
    save_tree(tmp_path / "state.safetensors", {"w": torch.ones(2)})
    assert synced[0].name.startswith(".state.safetensors") and synced[1] == tmp_path
    synced.clear()
    run = start_run(plan_run(find_study("deep-linear"), size="smoke"), tmp_path / "runs")
    assert run.path.parent in synced, "the name of the run's folder"


def test_the_report_says_where_its_bytes_are_the_same(built, call, tmp_path):
    (run, *_) = sorted(path.parent for path in built.rglob("results.json"))
    assert call("report", run, "--out", tmp_path / "r.html", "--runs", built)[0] == 0
    page = (tmp_path / "r.html").read_text()
    origin = atomic.read_json(run / "provenance.json")
    assert origin["instructions"] in page and "threads" in page


@pytest.mark.parametrize(
    ("study", "setting"),
    [
        ("deep-linear", "lr=1255"),
        ("tms_5-2", "metrics.alive_components=635552"),
        ("merge-stories", "model.n_head=5"),
    ],
)
def test_settings_that_once_crashed_half_way(tmp_path, study, setting):
    """Refused when planned, or else finished, or ended in one sentence that is no exception's."""
    try:
        planned = plan_run(find_study(study), size="smoke", overrides=[setting])
    except UsageError as error:
        assert "\n" not in error.message
        return
    run = start_run(planned, tmp_path)
    code = execute_run(run, How(device="cpu", quiet=True))
    message = atomic.read_json(run.error)["message"] if code else ""
    assert code == 0 or not message.partition(" ")[0].endswith(("Error:", "Exception:")), message
