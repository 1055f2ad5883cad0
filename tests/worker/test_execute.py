"""The worker, on the countdown: results, failures, signals, and real kills."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from digsite.base.errors import LockHeld, UsageError
from digsite.record import RunDir, create_run, read_results
from digsite.record.journal import read_series
from digsite.record.lock import hold_lock
from digsite.worker.execute import How, execute_pack, execute_run

CPU = How(device="cpu", quiet=True)


def countdown(root, run_id=None, **config):
    launch = {"study": "countdown", "method": "countdown.countdown", "config": {"steps": 6, **config}}
    return create_run(root, launch, run_id=run_id)


def test_a_run_writes_everything_that_it_promises(tmp_path):
    run = countdown(tmp_path)
    assert execute_run(run, CPU) == 0
    results = read_results(run.results)
    assert results and results["total"].n == 6 and "add up" in results.verdict
    assert read_series(run.journal)["total"][0] == [0, 1, 2, 3, 4, 5]
    assert (run.artifacts / "total.safetensors").exists()
    assert json.loads(run.provenance.read_text())["device"] == "cpu"
    assert run.status().state == "finished" and run.status().step == 6


def test_the_same_config_gives_the_same_bytes(tmp_path):
    a, b = countdown(tmp_path), countdown(tmp_path)
    execute_run(a, CPU), execute_run(b, CPU)
    assert a.results.read_bytes() == b.results.read_bytes()


def test_a_failure_is_recorded_and_can_be_resumed(tmp_path, monkeypatch):
    run = countdown(tmp_path, fail_at=3)
    assert execute_run(run, CPU) == 1
    error = json.loads(run.error.read_text())
    assert error["message"] == "ValueError: as asked" and "Traceback" in error["traceback"]
    assert run.status().state == "failed"
    assert not run.results.exists()


def test_a_full_disk_is_one_sentence(tmp_path):
    run = countdown(tmp_path, full_disk_at=2)
    assert execute_run(run, CPU) == 1
    assert "is full; what was written before is whole" in run.status().message
    assert "digsite resume" in json.loads(run.error.read_text())["message"]


@pytest.fixture
def small_disk(tmp_path):
    """A real file system with no room to speak of."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_really_fills_up_is_one_sentence_and_the_run_goes_on_elsewhere(
    small_disk, tmp_path, caplog
):
    run = countdown(small_disk, steps=3000)
    assert execute_run(run, How(device="cpu", quiet=True, checkpoint_every_s=0.05)) == 1
    (said,) = [record.getMessage() for record in caplog.records]
    assert "is full; what was written before is whole" in said and "Traceback" not in said
    moved = tmp_path / "elsewhere" / run.id
    shutil.copytree(run.path, moved)
    assert execute_run(RunDir(moved), CPU) == 0
    assert read_results(moved / "results.json")["total"].n == 3000


def test_a_bad_config_in_the_launch_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="'steps' cannot be -1"):
        execute_run(countdown(tmp_path, steps=-1), CPU)


def test_a_held_run_is_not_touched(tmp_path):
    run = countdown(tmp_path)
    with hold_lock(run), pytest.raises(LockHeld):
        execute_run(run, CPU)
    assert run.status().state == "planned"


def test_a_pack_gives_each_member_what_it_gets_alone(tmp_path):
    alone = [countdown(tmp_path / "alone", seed=seed) for seed in range(3)]
    pack = [countdown(tmp_path / "pack", seed=seed) for seed in range(3)]
    assert [execute_run(run, CPU) for run in alone] == execute_pack(pack, CPU) == [0, 0, 0]
    assert [r.results.read_bytes() for r in alone] == [r.results.read_bytes() for r in pack]


def test_a_pack_fails_as_one(tmp_path):
    pack = [countdown(tmp_path, seed=seed, fail_at=1) for seed in range(2)]
    assert execute_pack(pack, CPU) == [1, 1]
    assert {run.status().state for run in pack} == {"failed"}


def child(run, env) -> subprocess.Popen:
    words = [sys.executable, "-m", "digsite", "resume", str(run.path), "-q", "--checkpoint-every", "0"]
    return subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_step(run, process, step):
    while run.status().step < step and process.poll() is None:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)]
)
def test_signals_checkpoint_and_leave_with_their_code(tmp_path, plugin_env, number, code):
    run = countdown(tmp_path, steps=400, sleep_s=0.02)
    process = child(run, plugin_env)
    wait_for_step(run, process, 1)
    process.send_signal(number)
    assert process.wait(600) == code
    status = run.status()
    assert status.state == "interrupted" and 0 < status.step < 400
    assert (run.checkpoints / "steps-steps.safetensors").exists()


def test_killed_at_random_steps_and_resumed_ends_in_the_same_bytes(tmp_path, plugin_env):
    """Three SIGKILLs at steps drawn from seed 7, then a resume, against one undisturbed run."""
    whole = countdown(tmp_path, run_id="whole", steps=60, sleep_s=0.02)
    torn = countdown(tmp_path, run_id="torn", steps=60, sleep_s=0.02)
    execute_run(whole, CPU)
    for step in sorted(random.Random(7).sample(range(1, 50), 3)):
        process = child(torn, plugin_env)
        wait_for_step(torn, process, step)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert torn.status().shown_state in ("killed", "planned")
    assert execute_run(torn, CPU) == 0
    assert torn.results.read_bytes() == whole.results.read_bytes()
    assert read_series(torn.journal) == read_series(whole.journal)
    assert not [p for p in torn.path.rglob("*") if p.name.endswith(".part") and p.name == "results.json"]
