"""SIGKILL at any moment, and again, and again: the run ends in the same bytes, every file of it outside of its circumstances."""

import os
import random
import signal
import time
import zlib
from pathlib import Path

import pytest
import torch

from digsite.record import RunDir, create_run
from digsite.record.layout import CIRCUMSTANCES
from digsite.studies import all_studies, find_study
from digsite.studies.plan import plan_run, start_run
from digsite.worker.execute import How, execute_run

HOW = How(device="cpu", quiet=True, checkpoint_every_s=0.2)
KILLS = int(os.environ.get("DIGSITE_KILLS", "20"))


def contents(run: RunDir) -> dict[str, bytes]:
    """Every byte that two equal runs share: what is left out is named in one place, and checkpoints are no result."""
    files = [path for path in run.path.rglob("*") if path.is_file() and not path.is_symlink()]
    inside = {path.relative_to(run.path).as_posix(): path for path in files}
    return {
        name: path.read_bytes()
        for name, path in inside.items()
        if name not in (*CIRCUMSTANCES, ".lock") and not name.startswith("checkpoints/")
    }


def in_a_child(run: RunDir) -> int:
    """Execute the run in a forked process: as good as a new one for the run, and it starts in no time."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        code = execute_run(run, HOW)
    finally:
        os._exit(code)


def kill_group(pid: int) -> None:
    """End the process as a power cut would; its own workers must follow by themselves."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def torn(run: RunDir, seconds: float, kills: int, seed: int) -> int:
    """Execute a run with up to `kills` kills at random moments of its course, then to the end; how many there were."""
    rng, done = random.Random(seed), 0
    while done < kills and run.status().state != "finished":
        pid = in_a_child(run)
        deadline = time.monotonic() + rng.uniform(0.02, 1.0) * seconds * rng.choice((0.1, 0.5, 1.0))
        while time.monotonic() < deadline and run.status().state != "finished":
            time.sleep(0.005)
        kill_group(pid)
        done += 1
    pid = in_a_child(run)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, (
        run.error.read_text() if run.error.exists() else ""
    )
    return done


def differences(whole: RunDir, other: RunDir) -> list[str]:
    """Names of files that one run has and the other has not, or has otherwise."""
    a, b = contents(whole), contents(other)
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def compare(tmp_path: Path, make, kills: int, seed: int) -> None:
    """One undisturbed run and a torn one under the same name, in the same folder one after the other."""
    whole, other = make(tmp_path / "whole"), make(tmp_path / "torn")
    begun = time.monotonic()
    pid = in_a_child(whole)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, (
        whole.error.read_text() if whole.error.exists() else ""
    )
    torn(other, time.monotonic() - begun, kills, seed)
    assert differences(whole, other) == []
    assert not list(other.path.rglob("*.part"))


def countdown(root: Path) -> RunDir:
    launch = {
        "study": "countdown",
        "method": "countdown.countdown",
        "config": {"steps": 120, "sleep_s": 0.005},
    }
    return create_run(root, launch, run_id="one")


def test_a_run_that_is_killed_often_ends_in_the_same_bytes(tmp_path):
    torch.set_num_threads(1)
    compare(tmp_path, countdown, 8, 27)


def smokes() -> list[str]:
    """Studies that run here: those whose data is at hand."""
    found = all_studies()
    data = Path(os.environ.get("DIGSITE_DATA", "/nowhere"))
    return sorted(
        name for name, study in found.items() if all((data / need).is_dir() for need in study.needs)
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", smokes())
def test_every_study_survives_kills(tmp_path, name):
    torch.set_num_threads(1)
    study = find_study(name)
    compare(
        tmp_path,
        lambda root: start_run(plan_run(study, size="smoke"), root, run_id="one"),
        KILLS,
        zlib.crc32(name.encode()),
    )
