"""One writer per run directory: a kernel lock that dies with its holder, and a heartbeat for other hosts."""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from filelock import FileLock, Timeout

from digsite.base.errors import LockHeld
from digsite.record.layout import RunDir
from digsite.record.status import write_status

# Whoever lists runs asks for a shared lock for microseconds; a writer that starts just then waits that long.
_PATIENCE_S, _POLL_S = 0.5, 0.01


@contextmanager
def hold_lock(run: RunDir) -> Iterator[None]:
    """Hold the run for writing, or say who does. A SIGKILLed holder leaves nothing to clean up."""
    lock = FileLock(run.lock, timeout=_PATIENCE_S)
    try:
        lock.acquire(poll_interval=_POLL_S)
    except Timeout:
        raise _say_holder(run) from None
    except OSError as error:
        message = f"The lock of run '{run.id}' cannot be taken: {error.strerror or error}."
        raise LockHeld(message, hint=f"Look at '{run.lock}': it must be a plain file.") from None
    try:
        _refuse_remote_holder(run)
        yield
    finally:
        lock.release()


def _refuse_remote_holder(run: RunDir) -> None:
    """Network file systems may not carry kernel locks between hosts: there the heartbeat decides."""
    status = run.status()
    if status.is_beating and status.host != socket.gethostname():
        raise _say_holder(run)


def end_silent(run: RunDir, message: str, *, states: Sequence[str] = ("running", "planned")) -> bool:
    """Write down that a run's process ended without a word; False when another process holds the run, or it had ended.

    Its launcher calls this, under the run's lock, so that nobody waits for a run that will say nothing more.
    """
    try:
        with hold_lock(run):
            status = run.status()
            if status.state not in states:
                return False
            ended = replace(status, state="failed", ended=time.time(), eta_s=None, message=message)
            write_status(run.status_file, ended)
            return True
    except (LockHeld, OSError):
        return False


def _say_holder(run: RunDir) -> LockHeld:
    """Who writes, as far as its status tells."""
    status = run.status()
    holder = f"process {status.pid} on {status.host}" if status.pid else "another process"
    return LockHeld(f"Run '{run.id}' is being written by {holder}.", hint=f"Watch it: digsite show {run.id}")
