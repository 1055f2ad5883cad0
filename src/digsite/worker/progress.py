"""How far a run is: `status.json` for everybody, a heartbeat, a bar on a terminal or a line every 30 seconds."""

import shutil
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from digsite.base.stored import finite_number
from digsite.record.layout import RunDir
from digsite.record.status import HEARTBEAT_S, write_status

LINE_EVERY_S = 30.0
STATUS_EVERY_S = 1.0
VALUES_SHOWN = 3


class Progress:
    """Owns the status file while the run is running."""

    def __init__(self, run: RunDir, *, quiet: bool = False) -> None:
        self.run = run
        self.quiet = quiet
        self.status = run.status()
        self._mutex = threading.Lock()
        self._done = threading.Event()
        self._written = self._printed = self._began = time.monotonic()
        self._began_step = 0
        self._values = ""  # what the journal said last, for the line on a terminal
        self._bar = sys.stderr.isatty() and not quiet

    def start(self) -> None:
        self._write(state="running", started=self.status.started or time.time(), ended=None, message="")
        threading.Thread(target=self._keep_beating, daemon=True, name="heartbeat").start()

    def stop(self) -> None:
        """No more heartbeats, even when the last status cannot be written."""
        self._done.set()

    def end(self, state: str, message: str = "") -> None:
        self.stop()
        if self._bar and self.status.total:
            _print_line("\n")
        self._write(state=state, ended=time.time(), eta_s=None, message=message)

    def stage(self, name: str, step: int, total: int) -> None:
        self._began, self._began_step = time.monotonic(), step
        self._write(stage=name, step=step, total=total, eta_s=None)

    def part(self, name: str) -> None:
        """A piece of work; inside a stage that counts, the count goes on."""
        if self.status.step < self.status.total:
            self._write(stage=name)
        else:
            self.stage(name, 0, 0)

    def step(self, step: int) -> None:
        """Cheap to call every step: the file is renewed once a second."""
        self.status = replace(self.status, step=step)
        now = time.monotonic()
        if now - self._written < STATUS_EVERY_S:
            return
        per_step = (now - self._began) / max(step - self._began_step, 1)
        left = self.status.total - step
        self._write(eta_s=round(per_step * left, 1) if left >= 0 else None)
        self._show(now)

    def note_values(self, values: Mapping[str, Any]) -> None:
        """The latest measurements: the first few stand behind the step, so that a person sees a loss fall."""
        if not self.quiet:
            numbers = [(name, finite_number(value)) for name, value in list(values.items())[:VALUES_SHOWN]]
            self._values = "  ".join(f"{name} {number:.4g}" for name, number in numbers if number is not None)

    def _show(self, now: float) -> None:
        status = self.status
        of = f"/{status.total}" if status.total else ""
        parts = (status.stage or status.study, f"{status.step}{of}", self._values, _time_left(status.eta_s))
        text = "  ".join(part for part in parts if part)
        if self._bar:
            width = max(shutil.get_terminal_size((80, 24)).columns - 1, 20)
            _print_line(f"\r\033[K\033[36m{text[:width]}\033[0m")
        elif not self.quiet and now - self._printed >= LINE_EVERY_S:
            self._printed = now
            _print_line(f"{text}\n")

    def _keep_beating(self) -> None:
        while not self._done.wait(HEARTBEAT_S):
            with suppress(OSError):  # a full disk is the run's to report, and the next beat may succeed
                self._write()

    def _write(self, **changes: Any) -> None:
        with self._mutex:
            self.status = self.status.beat(**changes)
            write_status(self.run.status_file, self.status)
            self._written = time.monotonic()


def _print_line(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _time_left(eta_s: float | None) -> str:
    if eta_s is None:
        return ""
    minutes, seconds = divmod(int(eta_s), 60)
    return f"{minutes}:{seconds:02d} left"
