"""torchrun: the command by itself, and real processes under the marker `scheduler`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from digsite.base.errors import UsageError
from digsite.launch.launchers import torchrun
from digsite.launch.work import Options, Work
from digsite.record.sweeps import find_sweep


def test_a_piece_of_work_becomes_one_call_of_torchrun():
    piece = Work((Path("a"), Path("b")), packed=True)
    words = torchrun.torchrun_command(piece, 4, Options(device="cpu"))
    assert words[:4] == [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=4"]
    assert words[words.index("digsite") :] == ["digsite", "exec", "--device", "cpu", "--packed", "a", "b"]
    with pytest.raises(UsageError, match="'torchrun:x' is not a launcher"):
        torchrun.count_processes("x")


def start(root: Path, on: str, **settings: object) -> subprocess.Popen:
    words = [
        "own_model",
        "--smoke",
        "--on",
        on,
        "--runs",
        str(root),
        "--name",
        "s",
        "--device",
        "cpu",
        "seed=3",
    ]
    overrides = [f"decompose.{key}={value}" for key, value in settings.items()]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "digsite", "sweep", *words, *overrides],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.scheduler
def test_two_processes_are_one_with_twice_the_batches_even_after_a_kill(tmp_path):
    assert start(tmp_path / "one", "local:1", steps=150, accumulate=2).wait(250) == 0
    process = start(tmp_path / "two", "torchrun:2", steps=150, accumulate=1)
    (member,) = wait_for_members(tmp_path / "two")
    while not member.run.journal.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(600) == torchrun.REQUEUE
    assert member.status().state == "interrupted" and not member.run.results.exists()
    assert start(tmp_path / "two", "torchrun:2", steps=150, accumulate=1).wait(250) == 0
    (alone,) = find_sweep("s", tmp_path / "one").members
    assert member.run.results.read_bytes() == alone.run.results.read_bytes()
    assert '"step": 100' in member.run.journal.read_text()


def wait_for_members(root: Path):
    deadline = time.monotonic() + 120
    while not (root / ".sweeps" / "s" / "plan.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return find_sweep("s", root).members
