"""SIGKILL at any moment, and again, and again: the run ends in the same bytes, every file of it outside of its circumstances.

Kills are chained: one run is killed, resumed, killed again. Each attempt starts in a process forked from this one, which has
imported everything, so that a kill costs what the run repeats and not the start of an interpreter. Some come at a random
moment, the others right before a write, a rename or a removal in the run's folder: what is torn there is half of a file.
"""

import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
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
AT_A_WRITE = 0.2  # of the kills: the end of a run, where most is written, is reached by few random moments
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.truncate")
PART = re.compile(r"/\.([^/]*)\.\d+\.part$")  # a temporary name around the name of its file


def contents(run: RunDir) -> dict[str, bytes]:
    """Every byte that two equal runs share: what is left out is named in one place, and checkpoints are no result."""
    files = [path for path in run.path.rglob("*") if path.is_file() and not path.is_symlink()]
    inside = {path.relative_to(run.path).as_posix(): path for path in files}
    return {
        name: path.read_bytes()
        for name, path in inside.items()
        if name not in (*CIRCUMSTANCES, ".lock") and not name.startswith("checkpoints/")
    }


class Writes:
    """Notes what a process does to the files of a run, each change by its kind and file, and ends it right before `last`."""

    def __init__(self, run: RunDir, last: str = "") -> None:
        self._folder, self._last = str(run.path), last
        self.seen: dict[str, None] = {}

    def watch(self) -> None:
        """From now on and for good: Python has no way to take such a hook off, so only a child calls this."""
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple) -> None:
        opened = event == "open" and bool(args[2] & (os.O_WRONLY | os.O_RDWR))
        path = str(args[0]) if opened or event in CHANGES else ""
        if path.startswith(self._folder):
            name = PART.sub(r"/\1", path.removeprefix(self._folder))
            change = f"{event} {name}"
            self.seen[change] = None
            if change == self._last:
                os.kill(os.getpid(), signal.SIGKILL)


def in_a_child(run: RunDir, last: str = "", told: Path | None = None) -> int:
    """Execute the run in a forked process: as good as a new one for the run, and it starts in no time.

    `told`: where the child says what it wrote, and what it imported, so that the next one has it from the start.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        writes = Writes(run, last)
        writes.watch()
        code = execute_run(run, HOW)
        if told:
            told.write_text(json.dumps([list(writes.seen), list(sys.modules)]))
    finally:
        os._exit(code)


def import_all(names: list[str]) -> None:
    """What a study needs, taken in once and not after each kill."""
    for name in names:
        with suppress(ImportError, AttributeError):
            importlib.import_module(name)


def killed(pid: int, seconds: float) -> bool:
    """Whether a kill ended the process: the one that it set itself, or ours when the time is over, as a power cut would."""
    deadline = time.monotonic() + seconds
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            ended = os.waitpid(pid, 0)
            break
        time.sleep(0.003)
    return os.WIFSIGNALED(ended[1]) and os.WTERMSIG(ended[1]) == signal.SIGKILL


def finish(run: RunDir, told: Path | None = None) -> None:
    """Execute to the end."""
    code = os.waitstatus_to_exitcode(os.waitpid(in_a_child(run, told=told), 0)[1])
    assert code == 0, run.error.read_text() if run.error.exists() else code


def tear(run: RunDir, seconds: float, writes: list[str], kills: int, rng: random.Random) -> int:
    """Kill a run up to `kills` times along its course, then let it end; how many kills there were.

    `seconds`: what the undisturbed run took; `writes`: the changes of files that it made. Random moments lie soon after a
    start, so that those of a chain lie along the whole run.
    """
    done = 0
    while done < kills and run.status().state != "finished":
        at_a_write = rng.random() < AT_A_WRITE
        last = rng.choice(writes) if at_a_write else ""
        patience = 3600.0 if at_a_write else rng.uniform(0, seconds / 14)
        done += killed(in_a_child(run, last), patience)
    finish(run)
    return done


def differences(whole: RunDir, other: RunDir) -> list[str]:
    """Names of files that one run has and the other has not, or has otherwise."""
    a, b = contents(whole), contents(other)
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def attack_run(tmp_path: Path, make: Callable[[Path], RunDir], kills: int, seed: int) -> None:
    """One undisturbed run, and beside it as many torn ones of the same name as it takes to be killed `kills` times."""
    rng, done, chains = random.Random(seed), 0, 0
    whole = make(tmp_path / "whole")
    begun = time.monotonic()
    finish(whole, tmp_path / "told")
    seconds = time.monotonic() - begun
    seen, modules = json.loads((tmp_path / "told").read_text())
    import_all(modules)
    writes = [change for change in seen if "/checkpoints/" not in change]  # these are not written again
    while done < kills:
        other = make(tmp_path / "torn")
        done += tear(other, seconds, writes, kills - done, rng)
        chains += 1
        assert differences(whole, other) == []
        assert not list(other.path.rglob("*.part"))
        shutil.rmtree(tmp_path / "torn")
    spent = time.monotonic() - begun
    sys.stdout.write(
        f"{done} kills along {chains} runs; {len(writes)} kinds of writes; {seconds:.1f} s undisturbed, {spent:.1f} in all\n"
    )


def countdown(root: Path) -> RunDir:
    launch = {
        "study": "countdown",
        "method": "countdown.countdown",
        "config": {"steps": 120, "sleep_s": 0.005},
    }
    return create_run(root, launch, run_id="one")


def test_a_run_that_is_killed_often_ends_in_the_same_bytes(tmp_path):
    torch.set_num_threads(1)
    attack_run(tmp_path, countdown, KILLS, 27)


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
    attack_run(
        tmp_path,
        lambda root: start_run(plan_run(study, size="smoke"), root, run_id="one"),
        KILLS,
        zlib.crc32(name.encode()),
    )


def run_hashed(name: str, root: Path, seed: int) -> RunDir:
    """A smoke in an interpreter of its own, whose sets and dicts of text have another order."""
    command = [
        sys.executable,
        "-m",
        "digsite",
        "run",
        name,
        "--smoke",
        "--device",
        "cpu",
        "--quiet",
        "--runs",
        root,
    ]
    threads = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": str(seed)}
    subprocess.run(command, env=os.environ | threads, check=True, stdout=subprocess.DEVNULL)
    (results,) = root.rglob("results.json")
    return RunDir(results.parent)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", smokes())
def test_the_order_of_sets_changes_no_byte(tmp_path, name):
    """A run is resumed by another interpreter, which orders sets of text in another way."""
    first, second = (run_hashed(name, tmp_path / str(seed), seed) for seed in (1, 3))
    assert differences(first, second) == []
