import dataclasses
import subprocess
import sys

import pytest

from digsite.base.errors import LockHeld
from digsite.record import create_run
from digsite.record.lock import hold_lock
from digsite.record.status import Status, write_status

LAUNCH = {"study": "countdown", "method": "countdown.countdown", "config": {}}
HOLD = """
import sys, time
from pathlib import Path
from digsite.record import RunDir
from digsite.record.lock import hold_lock
with hold_lock(RunDir(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_processes_cannot_write_one_run_and_a_killed_one_leaves_no_lock(tmp_path):
    run = create_run(tmp_path, LAUNCH)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, run.path], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        with pytest.raises(LockHeld, match=f"Run '{run.id}' is being written"), hold_lock(run):
            pass
        holder.kill()
        holder.wait()
    with hold_lock(run):
        pass


def test_a_live_holder_on_another_host_is_respected(tmp_path):
    run = create_run(tmp_path, LAUNCH)
    there = dataclasses.replace(Status("running").beat(), host="another-host")
    write_status(run.status_file, there)
    with pytest.raises(LockHeld, match="on another-host"), hold_lock(run):
        pass
    write_status(run.status_file, dataclasses.replace(there, heartbeat=0.0))
    with hold_lock(run):
        pass
