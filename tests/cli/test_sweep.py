"""What can be wrong with a sweep is said in one sentence, before anything is started."""

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from digsite.record.sweeps import find_sweep


@pytest.fixture
def sweep(cli, plugin_studies, plugin_env, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", plugin_env["PYTHONPATH"])

    def call(*words, root=tmp_path / "runs"):
        studies = () if words[0] in ("status", "retry") else ("--studies", plugin_studies)
        return cli("sweep", *words, *studies, "--runs", root)

    return call


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (
            ["countdown", "stps=1,2"],
            2,
            "Unknown key 'stps' in this config of 'countdown'. Did you mean 'steps'",
        ),
        (["countdown", "steps=-1,2"], 2, "'steps' cannot be -1"),
        (["countdwn", "steps=1,2"], 3, "no study 'countdwn'. Did you mean 'countdown'"),
        (["countdown"], 2, "The grid is empty"),
        (["countdown", "seed="], 2, "The grid is empty. 'seed' has no values"),
        (["countdown", "seed=5..1"], 2, "The grid is empty. 'seed' has no values"),
        (["countdown", "seed=1..1000", "steps=1..10000"], 2, "10,000,000 combinations; at most 100,000"),
        (["countdown", "seed=1..999999999999"], 2, "999,999,999,999 combinations"),
        (["steps=1,2"], 2, "No study was named"),
        (["countdown", "seed=1,2", "--on", "slrum"], 2, "no launcher 'slrum'. Did you mean 'slurm'"),
        (["countdown", "seed=1,2", "--on", "local:x"], 2, "'local:x' is not a launcher"),
        (["countdown", "seed=1,2", "--on", "local:0"], 2, "'local:0' is not a launcher"),
        (["countdown", "seed=1,2", "--on", "torchrun:0"], 2, "'torchrun:0' is not a launcher"),
        (["countdown", "seed=1,2", "--mirror", "wandbb"], 2, "no mirror 'wandbb'. Did you mean 'wandb'"),
        (["--file", "none.yaml"], 3, "no config file 'none.yaml'"),
        (["status", "nothing"], 3, "no sweep 'nothing'"),
        (["retry", "nothing"], 3, "no sweep 'nothing'"),
        (["countdown", "seed=1,2", "--minimize", "total", "--dry-run"], 2, "A search is of one study"),
    ],
)
def test_mistakes_get_one_sentence(sweep, words, code, sentence):
    got, _, err = sweep(*words)
    assert (got, sentence in err) == (code, True), err
    assert "Traceback" not in err


def test_no_slurm_is_said_before_anything_is_submitted(sweep, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = sweep("countdown", "seed=0,1", "--on", "slurm")
    assert code == 2 and "There is no SLURM on this machine" in err and "--on local:2" in err


def test_a_missing_extra_names_its_install_command(sweep, monkeypatch):
    for extra, words in {"ray": ("--on", "ray"), "optuna": ("--minimize", "total")}.items():
        monkeypatch.setitem(sys.modules, extra, None)
        code, _, err = sweep("countdown", "steps=1,2", *words)
        assert code == 2 and f"This needs the package '{extra}'" in err and "pip install 'digsite[" in err


def test_a_ray_address_that_does_not_answer(sweep):
    pytest.importorskip("ray")
    port = free_port()
    code, _, err = sweep("countdown", "seed=0,1", "--on", f"ray:127.0.0.1:{port}")
    assert code == 2 and f"No Ray cluster answers at '127.0.0.1:{port}'" in err


def test_a_file_with_a_study_that_is_none(sweep, tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("global: {seed: {values: [0]}}\ncountdwn: {steps: 1}\n")
    code, _, err = sweep("--file", file)
    assert code == 2 and "has a block 'countdwn', which is no study. Did you mean 'countdown'" in err


def test_a_file_together_with_studies_and_settings(sweep, tmp_path):
    """The named studies only; a study without a block gets the global settings, and the command line wins over both."""
    file = tmp_path / "sweep.yaml"
    file.write_text("global: {seed: {values: [0, 1]}, steps: 2}\ncountdown: {steps: {values: [2, 3, 4]}}\n")
    points = lambda *words: [row["point"] for row in json.loads(sweep(*words, "--dry-run", "--json")[1])]  # noqa: E731
    assert len(points("--file", file)) == 6
    assert {p["steps"] for p in points("countdown", "--file", file)} == {2, 3, 4}
    assert points("countdown", "steps=5", "--file", file) == [
        {"seed": 0, "steps": 5},
        {"seed": 1, "steps": 5},
    ]
    file.write_text("global: {seed: {values: [0, 1]}}\n")
    assert points("countdown", "--file", file) == [{"seed": 0}, {"seed": 1}]
    assert "names no study" in sweep("--file", file)[2]


def test_without_a_name_the_shipped_sweep_is_meant(sweep):
    rows = json.loads(sweep("--dry-run", "--json", "--file")[1])
    assert {row["study"] for row in rows} == {"tms_5-2", "tms_5-2-id", "tms_40-10", "resid_mlp1"}
    assert len(rows) == 36 == len({row["run"] for row in rows})
    only = json.loads(sweep("tms_5-2", "seed=7", "--file", "default", "--dry-run", "--json")[1])
    assert [row["point"]["seed"] for row in only] == [7, 7, 7]


def test_a_sweep_that_has_finished_has_its_report(sweep, tmp_path):
    assert sweep("countdown", "seed=0,1", "--name", "s", "--no-report")[0] == 0
    place = tmp_path / "runs" / ".sweeps" / "s" / "report.html"
    assert not place.exists()
    code, _, err = sweep("countdown", "seed=0,1", "--name", "s")
    assert code == 0 and place.is_file() and f"The report of all 2: {place}" in err


def test_a_dry_run_writes_nothing_and_counts(sweep, tmp_path):
    code, out, _ = sweep("countdown", "seed=0..2", "steps=1,2", "--dry-run")
    assert code == 0 and "6 runs on local:1" in out
    assert not (tmp_path / "runs").exists()


@contextmanager
def mounted(place: Path, *words: str):
    """A file system of its own, where this machine lets us mount one."""
    place.mkdir()
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting needs root")
    if subprocess.run(["mount", *words, str(place)], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk_fails_its_run_in_one_sentence_and_room_lets_it_go_on(sweep, tmp_path):
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=12m", "tmpfs") as small:
        words = ("countdown", "steps=4", "seed=0,1", "--name", "s")
        assert sweep(*words, "--plan-only", root=small)[0] == 0
        fill(small / "filler")
        code, _, err = sweep(*words, root=small)
        assert code == 1 and "Traceback" not in err
        assert "finished" not in find_sweep("s", small).counts()
        (small / "filler").unlink()
        assert sweep(*words, root=small)[0] == 0
        assert find_sweep("s", small).counts() == {"finished": 2}


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return


def test_a_folder_that_cannot_be_written(sweep, tmp_path):
    with mounted(tmp_path / "locked", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs") as locked:
        code, _, err = sweep("countdown", "seed=0,1", root=locked / "runs")
    assert code == 2 and "No permission" in err and "--runs DIR" in err


def test_a_plan_on_a_full_disk(sweep, tmp_path):
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as small:
        fill(small / "filler")
        code, _, err = sweep("countdown", "seed=0,1", root=small / "runs")
    assert code == 1 and "is full" in err and "Traceback" not in err


def test_json_lists_every_run(sweep):
    code, out, _ = sweep("countdown", "seed=0,1", "--plan-only", "--json")
    assert code == 0 and json.loads(out)["counts"] == {"planned": 2}


def test_a_mistyped_launcher_leaves_no_run_behind(sweep, tmp_path):
    code, _, err = sweep("countdown", "seed=0..4", "--on", "locl:2")
    assert code == 2 and "There is no launcher 'locl'. Did you mean 'local'" in err
    assert not (tmp_path / "runs").exists()
