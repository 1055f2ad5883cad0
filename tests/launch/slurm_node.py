"""A real SLURM on this machine alone: munged, slurmctld and slurmd on loopback, started and stopped by process id."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
CONFIG = """
ClusterName=digsite
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=5
OverTimeLimit=0
MinJobAge=30
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def present() -> bool:
    return os.geteuid() == 0 and all(shutil.which(name) for name in NEEDED)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def node(folder: Path) -> Iterator[str]:
    """The SLURM_CONF with which sbatch reaches this node."""
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    config = folder / "slurm.conf"
    ports = {"ctld_port": free_port(), "slurmd_port": free_port()}
    config.write_text(CONFIG.format(host=host, folder=folder, **ports))
    env = {**os.environ, "SLURM_CONF": str(config)}
    started: list[subprocess.Popen] = []
    try:
        for words in _daemons(folder, key, config, host):
            started.append(
                subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            time.sleep(1)
        assert _until(env, "sinfo", lambda text: "idle" in text), (
            "SLURM did not come up: see the logs in its folder"
        )
        yield str(config)
    finally:
        subprocess.run(["scancel", "--user", "root"], env=env, capture_output=True)
        _until(env, "squeue", lambda text: not text.strip())  # a step outlives its daemon
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _daemons(folder: Path, key: Path, config: Path, host: str) -> list[list[str]]:
    munge = [
        "--key-file",
        str(key),
        "--socket",
        str(folder / "munge.socket"),
        "--pid-file",
        str(folder / "munged.pid"),
        "--log-file",
        str(folder / "munged.log"),
        "--seed-file",
        str(folder / "munged.seed"),
    ]
    return [
        ["munged", "--foreground", "--force", *munge],
        ["slurmctld", "-D", "-f", str(config)],
        ["slurmd", "-D", "-f", str(config), "-N", host],
    ]


def _until(env: dict[str, str], command: str, fits: Callable[[str], bool], limit_s: float = 40) -> bool:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if fits(subprocess.run([command, "-h", "-o", "%T"], env=env, capture_output=True, text=True).stdout):
            return True
        time.sleep(0.5)
    return False
