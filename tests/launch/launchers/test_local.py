"""The local pool, with real processes and real kills."""

import random
import signal
import time

import pytest

from digsite.base.errors import UsageError
from digsite.launch.launchers import local
from digsite.launch.work import Options
from digsite.record.sweeps import find_sweep

WORDS = ("seed=0..1", "steps=6..9", "sleep_s=0.03")


def wait_for_progress(root, process, moment):
    """Wait until some run is running, then `moment` seconds more."""
    deadline = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < deadline:
        if any(root.glob("countdown/*/metrics.jsonl")):
            break
        time.sleep(0.02)
    time.sleep(moment)


def test_a_pool_finishes_everything_and_calling_again_does_nothing(tmp_path, start_sweep, outcome):
    assert start_sweep(*WORDS).wait(600) == 0
    first = outcome(tmp_path / "runs")
    assert len(first) == 8
    assert start_sweep(*WORDS).wait(600) == 0
    assert outcome(tmp_path / "runs") == first


@pytest.mark.parametrize("victim", ["pool", "worker"])
def test_a_killed_process_loses_nothing(tmp_path, start_sweep, outcome, children_of, kill, victim):
    start_sweep(*WORDS, root=tmp_path / "whole").wait(600)
    torn = tmp_path / "torn"
    process = start_sweep(*WORDS, root=torn)
    wait_for_progress(torn, process, 0.05)
    family = children_of(process.pid)
    kill(process.pid if victim == "pool" else family[0])
    if victim == "pool":
        for pid in family:  # their pipe is gone; make sure that none finishes the work on its own
            kill(pid)
    process.wait(600)
    assert start_sweep(*WORDS, root=torn).wait(600) == 0
    assert outcome(torn) == outcome(tmp_path / "whole")


def test_two_planners_at_once_run_nothing_twice(tmp_path, start_sweep, outcome):
    both = [start_sweep(*WORDS), start_sweep(*WORDS)]
    codes = {process.wait(600) for process in both}
    assert codes <= {0, 5}
    start_sweep(*WORDS).wait(600)
    outcome(tmp_path / "runs")
    for member in find_sweep("s", tmp_path / "runs").members:
        steps = [line for line in member.run.journal.read_text().splitlines() if '"total"' in line]
        assert len(steps) == member.point["steps"]


def test_ctrl_c_stops_the_pool_and_keeps_what_was_done(tmp_path, start_sweep, outcome):
    process = start_sweep("seed=0..1", "steps=200,201,202,203", "sleep_s=0.02")
    wait_for_progress(tmp_path / "runs", process, 0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(600) == 130
    states = find_sweep("s", tmp_path / "runs").counts()
    assert states["interrupted"] >= 1
    assert states["running"] == 0


def test_fail_fast_stops_scheduling(tmp_path, start_sweep):
    code = start_sweep("seed=0", "fail_at=0,1,2,3,4", "steps=6", "--fail-fast", on="local:1").wait(600)
    assert code == 1
    assert find_sweep("s", tmp_path / "runs").counts()["planned"] == 4


def test_the_number_of_workers_is_checked():
    assert local._count_workers("3", Options()) == 3
    assert local._count_workers("8", Options(max_parallel=2)) == 2
    with pytest.raises(UsageError, match="'local:many' is not a launcher"):
        local._count_workers("many", Options())


@pytest.mark.slow
def test_twenty_random_kills_anywhere(tmp_path, start_sweep, outcome, children_of, kill):
    """Moments and victims from seed 11: planner, pool and workers alike."""
    rng = random.Random(11)
    words = ("seed=0..1", "steps=20..49", "sleep_s=0.02")
    start_sweep(*words, root=tmp_path / "whole").wait(300)
    torn = tmp_path / "torn"
    for _ in range(20):
        process = start_sweep(*words, root=torn)
        time.sleep(rng.uniform(0.2, 4.0))
        family = [process.pid, *children_of(process.pid)]
        kill(rng.choice(family))
        if process.poll() is None and rng.random() < 0.5:
            kill(process.pid)
        process.wait(300)
    assert start_sweep(*words, root=torn).wait(300) == 0
    assert outcome(torn) == outcome(tmp_path / "whole")
