import dataclasses
import os
import subprocess

from digsite.record.status import Status, process_exists, read_status, write_status


def test_round_trip_and_unknown_keys(tmp_path):
    path = tmp_path / "status.json"
    write_status(path, Status("running", study="s", step=3).beat())
    path.write_text(path.read_text().replace('"step"', '"from_the_future": 1, "step"'))
    status = read_status(path)
    assert (status.state, status.step, status.pid, status.shown_state) == (
        "running",
        3,
        os.getpid(),
        "running",
    )


def test_a_run_whose_process_is_gone_was_killed():
    child = subprocess.Popen(["true"])
    child.wait()
    assert not process_exists(child.pid)
    assert dataclasses.replace(Status("running").beat(), pid=child.pid).shown_state == "killed"


def test_elsewhere_a_fresh_heartbeat_counts():
    here = Status("running").beat()
    there = dataclasses.replace(here, host="another-host")
    assert there.alive
    assert dataclasses.replace(there, heartbeat=0.0).shown_state == "killed"


def test_an_unreadable_status_is_a_failed_run(tmp_path):
    path = tmp_path / "study" / "id" / "status.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"state": "run')
    assert read_status(path).state == "failed"
    assert read_status(path).study == "study"
