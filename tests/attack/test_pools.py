"""Pools and sweeps around methods that behave badly, with real processes and real kills."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from digsite.launch import Options, Work, launch_sweep
from digsite.launch.launchers.local import Pool
from digsite.record import create_run, read_results
from digsite.record.status import Status, write_status
from digsite.record.sweeps import find_sweep
from digsite.worker.execute import How, execute_run

CPU = How(device="cpu", quiet=True)


@pytest.fixture
def sweep(plugin_env, plugin_studies, tmp_path):
    """Run a sweep of the hostile study to its end: exit code, errors and states by manner."""

    def run(*words: str, on: str = "local:1"):
        command = [
            sys.executable,
            "-m",
            "digsite",
            "sweep",
            *words,
            "--on",
            on,
            "--runs",
            str(tmp_path / "runs"),
            "--studies",
            str(plugin_studies),
        ]
        done = subprocess.run(
            command, env=plugin_env, capture_output=True, text=True, errors="replace", timeout=800
        )
        found = find_sweep("last", tmp_path / "runs")
        return done.returncode, done.stderr, {m.point.get("how"): m.status() for m in found.members}

    return run


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_manners_of_one_run_leave_the_others_alone(sweep):
    """Output on descriptor 1, an exit, a vanishing process and a forked child that holds the pipe, in one pool."""
    code, errors, states = sweep("hostile", "how=speak,vanish,leave,fork,answer,deep,well", on="local:2")
    assert code != 0 and "Traceback" not in errors
    assert {how: status.state for how, status in states.items()} == {
        "speak": "finished",
        "well": "finished",
        "vanish": "failed",
        "leave": "failed",
        "fork": "failed",
        "answer": "failed",
        "deep": "failed",
    }
    assert "ended itself with exit code 0 without a word" in states["vanish"].message
    assert "ended itself with exit code 3 without a word" in states["fork"].message
    assert "ended the process by itself (exit code 0)" in states["leave"].message
    assert "and yet it failed" in states["answer"].message


@pytest.mark.slow
def test_a_method_that_is_killed_each_time_is_given_up_after_three(sweep):
    code, _, states = sweep("hostile", "how=kill,well")
    assert code == 1 and states["well"].state == "finished"
    assert "ended by signal 9 3 times" in states["kill"].message


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_with_a_killed_run_whose_pid_lives_is_continued(plugin_env, plugin_studies, tmp_path, sweep):
    """After a restart of a container the first process has the pid that the dead one had."""
    assert sweep("hostile", "seed=0,1")[0] == 0
    found = find_sweep("last", tmp_path / "runs")
    run = found.members[0].run
    run.results.unlink()
    write_status(
        run.status_file, Status("running", study="hostile", id=run.id, seed=0).beat()
    )  # our own, living pid
    assert run.status().pid == os.getpid() and run.status().shown_state == "killed"
    code, _, states = sweep("hostile", "seed=0,1")
    assert code == 0 and run.status().state == "finished" and read_results(run.results)


CHILD = """if True:
    import os, sys, time
    for line in sys.stdin:
        path = line.strip()
        if path.endswith("vanish"):
            os._exit(0)
        if path.endswith("fork"):
            if os.fork() == 0:
                time.sleep(600)
            os._exit(3)
        os.write(1, b"noise\\n\\xff half " + path.encode() + b" 7\\n")
        print(path, 0, flush=True)
    """


def test_a_pool_knows_at_once_who_is_gone_and_reads_answers_only(tmp_path):
    """Children that are no runs: one vanishes, one leaves a process that holds its pipe, all say more than answers."""
    options = SimpleNamespace(command=[sys.executable, "-c", CHILD], fail_fast=False)
    pieces = [Work((tmp_path / name,)) for name in ("ok", "vanish", "fork", "fine")]
    begun = time.monotonic()
    pool = Pool(pieces, 2, options, {})  # pyright: ignore[reportArgumentType]
    assert pool.run() == 1 and sorted(pool.codes) == [0, 0, 1, 1]
    assert time.monotonic() - begun < 60


def test_a_sweep_that_is_not_complete_never_exits_with_0(built, tmp_path, capfd):
    """Whatever its processes said: states are read again from the run directories."""
    root = tmp_path / "runs"
    shutil.copytree(built, root)
    sweep = find_sweep("pair", root)
    run = sweep.members[0].run
    assert launch_sweep(sweep, "local:1", Options()) == 0
    write_status(run.status_file, Status("running", host="elsewhere", pid=1, heartbeat=time.time()))
    assert launch_sweep(sweep, "local:1", Options()) == 1
    assert "is not complete: 1 running" in capfd.readouterr().err
    write_status(run.status_file, Status("finished"))
    with (sweep.folder / "plan.jsonl").open("ab") as file:
        file.write(b'{"run": 7}\n')
    assert launch_sweep(find_sweep("pair", root), "local:1", Options()) == 1
    assert "1 lines of its plan are damaged" in capfd.readouterr().err


@pytest.mark.parametrize("how", ["leave", "surrogate", "deep"])
def test_bad_manners_are_one_sentence(tmp_path, how):
    run = create_run(tmp_path, {"study": "hostile", "method": "hostile.hostile", "config": {"how": how}})
    assert execute_run(run, CPU) == 1
    status = run.status()
    assert status.state == "failed" and status.message and "\n" not in status.message
    status.message.encode()


NAP = """if True:
    import sys, time
    from digsite.base.lineage import Workers
    if __name__ == "__main__":
        pool = Workers(2)
        done = [pool.submit(time.sleep, 60) for _ in range(2)]
        while len(pool._processes) < 2:
            time.sleep(0.01)
        pool.submit(int).done()
        time.sleep(2)
        print(*pool._processes, flush=True)
        time.sleep(60)
    """


def gone(pid: int) -> bool:
    """Whether a process has ended, or is only waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_die_with_the_process_that_started_them(tmp_path, plugin_env):
    script = tmp_path / "nap.py"
    script.write_text(NAP)
    parent = subprocess.Popen([sys.executable, script], env=plugin_env, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2 and not any(map(gone, workers))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 600
    while not all(map(gone, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(map(gone, workers))


BARE = """
import operator
print("a script starts", flush=True)
from digsite.base.lineage import Workers
with Workers(2) as pool:
    print(sum(pool.map(operator.neg, range(4))), flush=True)
"""


def test_a_script_without_a_main_guard_runs_once(tmp_path, plugin_env):
    script = tmp_path / "bare.py"
    script.write_text(BARE)
    done = subprocess.run(
        [sys.executable, script], env=plugin_env, capture_output=True, text=True, timeout=600
    )
    assert done.stdout.split("\n")[:2] == ["a script starts", "-6"], done.stderr
