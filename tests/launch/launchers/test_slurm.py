"""SLURM: the script by itself, and a real single-node SLURM under the marker `scheduler`."""

import subprocess
import time
from pathlib import Path

import pytest

from digsite.base.errors import UsageError
from digsite.launch.launchers import slurm
from digsite.launch.work import Options, work_left
from digsite.record.sweeps import find_sweep
from digsite.studies import sweep as planner


@pytest.fixture
def sweep(plugin_studies, tmp_path):
    spaces = planner.spaces_from_words(["countdown"], ["seed=0", "steps=1..5"], samples=1, seed=0)
    return planner.write_sweep(planner.plan_jobs(spaces, extra=[plugin_studies]), tmp_path / "runs")


def test_the_script_names_everything_that_was_asked_for(sweep):
    options = Options(
        max_parallel=3, time_limit_min=5, partition="short", cpus=4, gpus=1, job_suffix="-x", chunk=2
    )
    script = slurm.write_job(sweep, work_left(sweep), options)
    text = script.read_text()
    for line in (
        "--array=0-2%3",
        "--time=5",
        "--partition=short",
        "--cpus-per-task=4",
        "--gpus-per-task=1",
        f"--job-name=digsite-{sweep.name}-x",
    ):
        assert f"#SBATCH {line}" in text
    lines = [file.read_text().splitlines() for file in sorted(script.parent.glob("chunk_*.txt"))]
    assert [len(chunk) for chunk in lines] == [2, 2, 1]
    assert all(Path(path).is_absolute() for chunk in lines for path in chunk)
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


def test_ten_thousand_short_runs_fit_one_array(sweep):
    assert slurm.chunk_size(sweep, 10_000) == 300
    assert slurm.chunk_size(sweep, 1) == 1
    assert -(-1_000_000 // slurm.chunk_size(sweep, 1_000_000)) <= slurm.MAX_ARRAY


def test_no_slurm_is_one_sentence(monkeypatch, sweep):
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match=r"no SLURM on this machine.*--on local:2"):
        slurm.launch(sweep, "", Options())


def test_a_refused_job_says_what_slurm_said(monkeypatch, tmp_path):
    fake = tmp_path / "sbatch"
    fake.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: shrt' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UsageError, match="invalid partition specified: shrt"):
        slurm.submit_script(tmp_path / "job.sh")


@pytest.mark.scheduler
def test_an_array_of_real_runs_ends_as_it_does_locally(on_slurm, tmp_path, start_sweep, outcome):
    words = ("seed=0..1", "steps=2..4")
    assert start_sweep(*words, root=tmp_path / "local").wait(600) == 0
    assert start_sweep(*words, "--chunk", 1, root=tmp_path / "slurm", on="slurm").wait(600) == 0
    assert outcome(tmp_path / "slurm") == outcome(tmp_path / "local")


@pytest.mark.scheduler
def test_a_cancelled_job_is_taken_up_again(on_slurm, tmp_path, start_sweep, outcome):
    words, root = ("seed=0", "steps=300,301", "sleep_s=0.05", "--chunk", 1), tmp_path / "runs"
    process = start_sweep(*words, root=root, on="slurm")
    wait_until_running(root)
    subprocess.run(["scancel", "--name", "digsite-s", "--signal=KILL", "--full"], check=True)
    subprocess.run(["scancel", "--name", "digsite-s"], check=True)
    assert process.wait(600) != 0
    words = ("seed=0", "steps=300,301", "sleep_s=0.05")
    assert start_sweep(*words, root=root, on="slurm").wait(600) == 0
    outcome(root)


@pytest.mark.scheduler
def test_a_time_limit_checkpoints_and_goes_on_in_a_new_job(on_slurm, tmp_path, start_sweep, outcome):
    """The signal comes 60 s before the limit of one minute, so at once: every job does a part, all do the whole."""
    root = tmp_path / "runs"
    process = start_sweep("seed=0", "steps=1400", "sleep_s=0.05", "--time-limit", 1, root=root, on="slurm")
    assert process.wait(280) == 0
    outcome(root)
    (log,) = [p for p in root.glob(".sweeps/s/slurm/*/*.out") if "Submitted" in p.read_text()][:1]
    assert log.exists()


def wait_until_running(root: Path) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            if find_sweep("s", root).counts()["running"]:
                return
        except Exception:  # not planned yet
            pass
        time.sleep(0.2)
    raise AssertionError("no run started")
