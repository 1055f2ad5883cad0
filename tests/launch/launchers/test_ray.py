"""Ray: a real local cluster under the marker `scheduler`, and an address that does not answer."""

import importlib.util
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from digsite.base.errors import UsageError
from digsite.launch.launchers import ray

needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="the extra 'ray' is not installed")


def test_an_address_that_does_not_answer_is_one_sentence():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(UsageError, match=f"No Ray cluster answers at '127.0.0.1:{port}'"):
        ray._must_answer(f"127.0.0.1:{port}")
    with pytest.raises(UsageError, match="No Ray cluster answers at 'nonsense'"):
        ray._must_answer("nonsense")


@needs_ray
@pytest.mark.scheduler
def test_a_sweep_survives_a_killed_worker(tmp_path, start_sweep, outcome, children_of):
    words = ("seed=0..1", "steps=60..62", "sleep_s=0.05")
    assert start_sweep(*words, root=tmp_path / "local").wait(600) == 0
    process = start_sweep(*words, root=tmp_path / "ray", on="ray")
    os.kill(worker_at_work(children_of, process), signal.SIGKILL)
    assert process.wait(600) == 0
    assert outcome(tmp_path / "ray") == outcome(tmp_path / "local")


def worker_at_work(children_of, process) -> int:
    """A Ray worker that has started `digsite exec`."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        for pid in children_of(process.pid):
            if any(b"exec" in command_of(child) for child in children_of(pid)) and b"ray::" in command_of(
                pid
            ):
                return pid
        time.sleep(0.2)
    raise AssertionError("no Ray worker started")


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
