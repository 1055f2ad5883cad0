"""The state of a run: one small JSON that its writer renames into place and everybody else reads."""

import json
import os
import socket
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from digsite.base import atomic

State = Literal["planned", "running", "finished", "failed", "interrupted"]
HEARTBEAT_S = 10.0


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

    def beat(self, **changes: Any) -> "Status":
        return replace(self, heartbeat=time.time(), host=socket.gethostname(), pid=os.getpid(), **changes)

    @property
    def alive(self) -> bool:
        """Whether its writer still runs: on this host ask the system, elsewhere trust a fresh heartbeat."""
        if self.state != "running":
            return False
        if self.host == socket.gethostname():
            return process_exists(self.pid)
        return time.time() - (self.heartbeat or 0) < 3 * HEARTBEAT_S

    @property
    def shown_state(self) -> str:
        """A run whose process is gone without a word was killed."""
        return "killed" if self.state == "running" and not self.alive else self.state


_NUMBERS = {"step", "total", "pid", "seed", "eta_s", "created", "started", "heartbeat", "ended"}
_KNOWN = {f.name: (int, float) if f.name in _NUMBERS else str for f in fields(Status)}


def write_status(path: Path, status: Status) -> None:
    atomic.write_json(path, {"schema": 1, **asdict(status)})


def read_status(path: Path) -> Status:
    """Unknown keys are ignored, so that an older digsite can still list newer runs; so are values of a wrong type."""
    try:
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError):
        stored = None
    if not isinstance(stored, dict) or stored.get("state") not in get_args(State):
        return Status(
            state="failed", id=path.parent.name, study=path.parent.parent.name, message="no readable status"
        )
    return Status(**{key: stored[key] for key, kind in _KNOWN.items() if isinstance(stored.get(key), kind)})


def process_exists(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
