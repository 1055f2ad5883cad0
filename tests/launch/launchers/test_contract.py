"""Every launcher ends the same sweep with the same bytes, also when its processes are killed on the way."""

import importlib.util
import inspect
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from digsite.base import families
from digsite.launch.work import FAMILY, Options
from digsite.record.status import Status, write_status
from digsite.studies import sweep as planner

LAUNCHERS = families.list_members(FAMILY)
WHERE = {"local": "local:2", "torchrun": "torchrun:2"}
HERE = {"ray": importlib.util.find_spec("ray"), "slurm": shutil.which("sbatch")}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_takes_a_sweep_and_has_nothing_to_do_when_it_is_done(name, plugin_studies, tmp_path):
    if not HERE.get(name, True):
        pytest.skip(f"there is no {name} here")
    launch = families.scan_member(FAMILY, name).launch
    assert list(inspect.signature(launch).parameters) == ["sweep", "argument", "options"]
    spaces = planner.spaces_from_words(["countdown"], ["seed=0,1"], samples=1, seed=0)
    sweep = planner.write_sweep(planner.plan_jobs(spaces, extra=[plugin_studies]), tmp_path)
    for member in sweep.members:
        write_status(member.run.status_file, Status("finished"))
    assert launch(sweep, "", Options()) == 0


@pytest.mark.scheduler
def test_every_launcher_gives_the_same_results(tmp_path, start_sweep, outcome, on_slurm):
    """Runs with files of their own, packs, and several chunks."""
    found = {}
    for name in LAUNCHERS:
        root, words = tmp_path / name, ("seed=0,1", "steps=3..5", "--chunk", 1)
        assert start_sweep(*words, root=root, on=WHERE.get(name, name)).wait(250) == 0, name
        found[name] = outcome(root)
    assert len(found) >= 4 and len(found["local"]) == 6
    assert all(each == found["local"] for each in found.values())


@pytest.mark.scheduler
@pytest.mark.timeout(1500)
def test_twenty_kills_on_ray_and_slurm(tmp_path, start_sweep, outcome, children_of, kill, on_slurm):
    """Moments and victims from seed 5: planner, launcher, Ray's processes, job scripts and the runs themselves."""
    pytest.importorskip("ray")
    rng, hit = random.Random(5), set()
    words = ("seed=0,1", "steps=20..59", "sleep_s=0.05", "--chunk", 2)
    for on in ("ray", "slurm"):
        for _ in range(10):
            process = start_sweep(*words, root=tmp_path / on, on=on)
            wait_for_a_moment(process, tmp_path / on, rng)
            own = [process.pid, *children_of(process.pid)]
            by_kind = {kind_of(pid): pid for pid in [*own, *jobs_of(on_slurm)]}
            hit.add(
                chosen := rng.choice(sorted(by_kind.keys() - hit) or sorted(by_kind))
            )  # every kind comes up
            kill(by_kind[chosen])
            try:
                process.wait(15)
            except (
                subprocess.TimeoutExpired
            ):  # Ray waits a minute for a dead head: its launcher is killed too
                for pid in own:
                    kill(pid)
                process.wait(600)
    assert hit >= {"launcher", "run", "job script", "Ray worker"}, hit
    wait_until(
        lambda: not subprocess.run(["squeue", "-h"], capture_output=True, text=True).stdout.strip(), 120
    )
    for root in ("ray", "slurm", "whole"):
        assert start_sweep(*words, root=tmp_path / root).wait(250) == 0
    assert outcome(tmp_path / "ray") == outcome(tmp_path / "slurm") == outcome(tmp_path / "whole")


def wait_for_a_moment(process, root, rng) -> None:
    """One time in four while it plans and starts, else when work goes on."""
    before, early = measured(root), rng.random() < 0.25
    wait_until(lambda: early or process.poll() is not None or measured(root) != before, 60)
    time.sleep(rng.uniform(0, 1.5))


def measured(root) -> int:
    """Bytes of all journals: it moves whenever a run does."""
    return sum(path.stat().st_size for path in root.glob("countdown/*/metrics.jsonl"))


def wait_until(happened, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.1)


def jobs_of(configuration: str) -> list[int]:
    """Processes of SLURM jobs; they are no children of its daemon."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    told = {pid: read(pid, "environ") for pid in pids}
    return [pid for pid, text in told.items() if configuration.encode() in text and b"SLURM_JOB_ID=" in text]


def kind_of(pid: int) -> str:
    marks = {
        b"slurm_script": "job script",
        b"digsite\0exec": "run",
        b"digsite\0sweep": "launcher",
        b"ray::": "Ray worker",
        b"raylet": "raylet",
        b"gcs_server": "gcs_server",
    }
    command = read(pid, "cmdline")
    return next((kind for mark, kind in marks.items() if mark in command), "another")


def read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""
