"""Sweeps of the countdown, and what they must end in."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import slurm_node

from digsite.record.sweeps import Sweep, find_sweep


@pytest.fixture
def start_sweep(plugin_env, plugin_studies, tmp_path):
    """Start `digsite sweep countdown ...` as a process of its own."""

    def start(*words: object, root: Path = tmp_path / "runs", on: str = "local:2") -> subprocess.Popen:
        command = [
            sys.executable,
            "-m",
            "digsite",
            "sweep",
            "countdown",
            *map(str, words),
            "--on",
            on,
            "--runs",
            str(root),
            "--studies",
            str(plugin_studies),
            "--name",
            "s",
        ]
        env = {**plugin_env, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return start


@pytest.fixture
def outcome():
    """Results of every run of a sweep, by its settings."""

    def read(root: Path) -> dict[str, bytes]:
        sweep: Sweep = find_sweep("s", root)
        assert sweep.counts() == {"finished": len(sweep.members)}, sweep.counts()
        return {str(m.point): m.run.results.read_bytes() for m in sweep.members}

    return read


@pytest.fixture
def kill():
    """SIGKILL, if it is still there: a planner's call of git may be gone a moment later."""

    def end(pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    return end


@pytest.fixture
def children_of():
    """Process ids of all descendants, read from /proc."""

    def find(pid: int) -> list[int]:
        found = []
        for entry in (path.name for path in Path("/proc").iterdir()):
            if entry.isdigit():
                try:
                    stat = Path(f"/proc/{entry}/stat").read_text()
                except OSError:
                    continue
                if int(stat.rpartition(")")[2].split()[1]) == pid:
                    found += [int(entry), *find(int(entry))]
        return found

    return find


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    if not slurm_node.present():
        pytest.skip("SLURM is not installed here: tests/install-system-packages.sh")
    with slurm_node.node(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def on_slurm(slurm, monkeypatch, plugin_env) -> str:
    """Commands of this test reach the node; returned is its configuration file."""
    monkeypatch.setenv("SLURM_CONF", slurm)
    plugin_env["SLURM_CONF"] = slurm
    return slurm
