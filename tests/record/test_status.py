import dataclasses
import os
import signal
import subprocess
import sys

from digsite.record.layout import create_run
from digsite.record.lock import hold_lock
from digsite.record.status import Status, is_locked, read_status, write_status


def planned(root):
    return create_run(root, {"study": "s", "method": "m", "config": {}})


def test_round_trip_and_keys_of_a_newer_digsite_are_kept(tmp_path):
    path = tmp_path / "status.json"
    write_status(path, Status("running", study="s", step=3).beat())
    path.write_text(path.read_text().replace('"step"', '"from_the_future": 1, "step"'))
    status = read_status(path)
    assert (status.state, status.step, status.pid) == ("running", 3, os.getpid())
    write_status(path, status.beat(step=4))
    assert '"from_the_future": 1' in path.read_text() and read_status(path).step == 4


def test_the_lock_says_who_is_alive_and_never_a_process_id(tmp_path):
    """The pid in the status is this process's, which is as alive as can be: after a restart of a container or much time
    it may be anybody's."""
    run = planned(tmp_path)
    write_status(run.status_file, Status("running").beat())
    assert read_status(run.status_file).shown_state == "killed"
    with hold_lock(run):
        assert is_locked(run.lock) and read_status(run.status_file).shown_state == "running"
    assert read_status(run.status_file).shown_state == "killed"


def test_a_killed_holder_leaves_no_lock(tmp_path):
    run = planned(tmp_path)
    write_status(run.status_file, Status("running").beat())
    code = f"""if True:
        import sys, time
        from pathlib import Path
        from digsite.record import RunDir
        from digsite.record.lock import hold_lock
        with hold_lock(RunDir(Path({str(run.path)!r}))):
            print("held", flush=True)
            time.sleep(60)
        """
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout and child.stdout.readline() == "held\n"
        assert read_status(run.status_file).alive
        child.send_signal(signal.SIGKILL)
    assert not read_status(run.status_file).alive


def test_asking_for_the_lock_never_keeps_a_writer_out(tmp_path):
    run = planned(tmp_path)
    with hold_lock(run):
        pass
    for _ in range(50):
        is_locked(run.lock)
        with hold_lock(run):
            pass


def test_elsewhere_a_fresh_heartbeat_counts():
    here = Status("running").beat()
    there = dataclasses.replace(here, host="another-host")
    assert there.alive
    assert dataclasses.replace(there, heartbeat=0.0).shown_state == "killed"


def test_an_unreadable_status_is_a_damaged_run(tmp_path):
    path = tmp_path / "study" / "id" / "status.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"state": "run')
    status = read_status(path)
    assert (status.state, status.study, status.id) == ("damaged", "study", "id")
    assert "not whole JSON" in status.message
    path.write_text("{}")
    assert (read_status(path).state, read_status(path).message) == ("damaged", "damaged status: it is empty")
    path.write_text(
        '{"state": "running", "pid": 1e30, "step": "x", "created": 1e300, "seed": 1.5, "total": true}'
    )
    status = read_status(path)
    assert (status.state, status.pid, status.step, status.seed, status.total) == ("running", 0, 0, None, 0)
