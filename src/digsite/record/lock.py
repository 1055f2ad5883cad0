"""One writer per run directory: a kernel lock that dies with its holder, and a heartbeat for other hosts."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from digsite.base.errors import LockHeld
from digsite.record.layout import RunDir


@contextmanager
def locked(run: RunDir) -> Iterator[None]:
    """Hold the run for writing, or say who does. A SIGKILLed holder leaves nothing to clean up."""
    lock = FileLock(run.lock, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise _held(run) from None
    try:
        _refuse_remote_holder(run)
        yield
    finally:
        lock.release()


def _refuse_remote_holder(run: RunDir) -> None:
    """Network file systems may not carry kernel locks between hosts: there the heartbeat decides."""
    import socket

    status = run.status()
    if status.alive and status.host != socket.gethostname():
        raise _held(run)


def _held(run: RunDir) -> LockHeld:
    status = run.status()
    holder = f"process {status.pid} on {status.host}" if status.pid else "another process"
    return LockHeld(f"Run '{run.id}' is being written by {holder}.", hint=f"Watch it: digsite show {run.id}")
