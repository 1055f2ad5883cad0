"""The state of a run: one small JSON that its writer renames into place and everybody else reads."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from digsite.base import atomic, stored
from digsite.base.stored import Damaged, finite_number

State = Literal["planned", "running", "finished", "failed", "interrupted", "damaged"]
WRITTEN = ("planned", "running", "finished", "failed", "interrupted")  # a damaged record is only ever read
ENDED = ("finished", "failed", "interrupted", "killed", "damaged")
LOCK = ".lock"
HEARTBEAT_S = 10.0
_LIMIT = 1_000_000  # bytes
_TEXT = 20_000  # characters of a message; whoever shows it cuts it further


@dataclass(frozen=True)
class Status:
    state: State
    study: str = ""
    id: str = ""
    seed: int | None = None
    step: int = 0
    total: int = 0
    stage: str = ""
    eta_s: float | None = None
    created: float = field(default_factory=time.time)
    started: float | None = None
    heartbeat: float | None = None
    ended: float | None = None
    host: str = ""
    pid: int = 0
    message: str = ""
    lock: Path | None = field(default=None, compare=False, repr=False)  # of the folder that it was read from
    extra: Mapping[str, Any] = field(
        default_factory=dict, compare=False, repr=False
    )  # written by a newer digsite

    def record(self) -> dict[str, Any]:
        """What is stored and shown: every named value, those of a newer digsite included."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("lock", "extra")}
        return {**self.extra, **own}

    def beat(self, **changes: Any) -> "Status":
        return replace(self, heartbeat=time.time(), host=socket.gethostname(), pid=os.getpid(), **changes)

    @property
    def alive(self) -> bool:
        """Whether its writer still runs: the kernel lock on the folder says so, never a process id.

        A process id comes back, in a container after a restart and anywhere in time; a lock dies with its holder.
        Where the writer is on another host, whose locks may not reach here, a fresh heartbeat counts too.
        """
        if self.state != "running":
            return False
        if self.lock is not None and is_locked(self.lock):
            return True
        if self.lock is not None and self.host == socket.gethostname():
            return False
        return self.is_beating

    @property
    def is_beating(self) -> bool:
        """Whether the last heartbeat of a running run is fresh."""
        return self.state == "running" and abs(time.time() - (self.heartbeat or 0)) < 3 * HEARTBEAT_S

    @property
    def shown_state(self) -> str:
        """A run whose process is gone without a word was killed."""
        return "killed" if self.state == "running" and not self.alive else self.state


def write_status(path: Path, status: Status) -> None:
    """Replace the status file as a whole."""
    atomic.write_json(path, {"schema": 1, **status.record()})


def read_status(path: Path) -> Status:
    """The stored state, or state `damaged` with the reason as its message; never an exception.

    Values of a wrong type count as absent, and keys that this digsite does not know are kept.
    """
    raw = stored.read_json(path, kind=dict, limit=_LIMIT)
    lock = path.with_name(LOCK)
    if raw is None:
        raw = Damaged("there is no status file")
    elif isinstance(raw, dict) and raw.get("state") not in WRITTEN:
        raw = Damaged(f"it has the state {str(raw.get('state'))[:40]!r}" if raw else "it is empty")
    if isinstance(raw, Damaged):
        return Status(
            "damaged",
            path.parent.parent.name,
            path.parent.name,
            created=_changed_at(path),
            lock=lock,
            message=f"damaged status: {raw.reason}",
        )
    known = {name: value for name, kind in _KINDS.items() if (value := kind(raw.get(name))) is not None}
    names = {f.name for f in fields(Status)} | {"schema"}
    extra = {key: value for key, value in raw.items() if key not in names}
    known.setdefault("created", _changed_at(path))
    return Status(**known, lock=lock, extra=extra)


def _changed_at(path: Path) -> float:
    """When a folder without a readable date was last changed: the same answer each time, unlike the clock."""
    try:
        return path.parent.stat().st_mtime
    except (OSError, ValueError):
        return 0.0


def _text_or(value: Any) -> str | None:
    return value[:_TEXT] if isinstance(value, str) else None


def _moment_or(value: Any) -> float | None:
    number = finite_number(value)
    return (
        number if number is not None and 0 <= number < 2e11 else None
    )  # to the year 8300, which dates can show


def _count_or(value: Any) -> int | None:
    number = finite_number(value)
    return int(number) if number is not None and 0 <= number < 2**53 else None


def _seed_or(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


_KINDS = {
    "state": _text_or,
    "study": _text_or,
    "id": _text_or,
    "stage": _text_or,
    "host": _text_or,
    "message": _text_or,
    "step": _count_or,
    "total": _count_or,
    "pid": _count_or,
    "seed": _seed_or,
    "eta_s": _moment_or,
    "created": _moment_or,
    "started": _moment_or,
    "heartbeat": _moment_or,
    "ended": _moment_or,
}


def is_locked(path: Path) -> bool:
    """Whether some process holds this lock file; asking takes a shared lock for a moment and changes nothing."""
    try:
        import fcntl
    except ImportError:  # no kernel locks to ask here: the heartbeat decides
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return False
    finally:
        os.close(descriptor)
