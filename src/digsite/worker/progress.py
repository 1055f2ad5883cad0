"""How far a run is: `status.json` for everybody, a heartbeat, a bar on a terminal or a line every 30 seconds."""

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
        self._bar = _Bar() if sys.stderr.isatty() and not quiet else None

    def start(self) -> None:
        """And the heartbeat, by which other hosts see that the run lives."""
        self._write(state="running", started=self.status.started or time.time(), ended=None, message="")
        threading.Thread(target=self._keep_beating, daemon=True, name="heartbeat").start()
        if self._bar:
            self._bar.open(self.status.study)

    def stop(self) -> None:
        """No more heartbeats and no bar, even when the last status cannot be written."""
        self._done.set()
        if self._bar:
            self._bar.close()

    def end(self, state: str, message: str = "") -> None:
        """The last state."""
        self.stop()
        self._write(state=state, ended=time.time(), eta_s=None, message=message)

    def stage(self, name: str, step: int, total: int) -> None:
        """A new part of the run begins."""
        self._began, self._began_step = time.monotonic(), step
        self._write(stage=name, step=step, total=total, eta_s=None)
        if self._bar:
            self._bar.show(self.status, self._values)

    def part(self, name: str) -> None:
        """A piece of work; inside a stage that counts, the count goes on."""
        if self.status.step < self.status.total:
            self._write(stage=name)
            if self._bar:
                self._bar.show(self.status, self._values)
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
        if self._bar:
            self._bar.show(self.status, self._values)
        elif not self.quiet and now - self._printed >= LINE_EVERY_S:
            self._printed = now
            status = self.status
            of = f"/{status.total}" if status.total else ""
            left = _time_left(status.eta_s)
            parts = (status.stage or status.study, f"{status.step}{of}", self._values, left)
            _print_line("  ".join(part for part in parts if part) + "\n")

    def _keep_beating(self) -> None:
        """In a thread, so that a long step is not taken for a dead run."""
        while not self._done.wait(HEARTBEAT_S):
            with suppress(OSError):  # a full disk is the run's to report, and the next beat may succeed
                self._write()

    def _write(self, **changes: Any) -> None:
        """Both threads write, one at a time."""
        with self._mutex:
            self.status = self.status.beat(**changes)
            write_status(self.run.status_file, self.status)
            self._written = time.monotonic()


class _Bar:
    """Stage, bar, step, the latest losses, time taken and time left on one line of a terminal.

    It moves by itself ten times a second, so that a stage that counts no steps is seen to live as well.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Lines

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", style="cyan", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", style="dim", markup=False),
        )
        self._lines = Lines(*columns, console=Console(stderr=True), transient=True, expand=False)
        self._task: Any = None

    def open(self, name: str) -> None:
        if self._task is None:
            self._task = self._lines.add_task(name, total=None, values="", left="")
            self._lines.start()

    def show(self, status: Any, values: str) -> None:
        if self._task is not None:
            self._lines.update(
                self._task,
                description=status.stage or status.study,
                completed=status.step,
                total=status.total or None,
                values=values,
                left=_time_left(status.eta_s),
            )

    def close(self) -> None:
        if self._task is not None:
            self._task = None
            self._lines.stop()


def _print_line(text: str) -> None:
    """On standard error: standard output is for answers."""
    sys.stderr.write(text)
    sys.stderr.flush()


def _time_left(eta_s: float | None) -> str:
    """Minutes and seconds."""
    if eta_s is None:
        return ""
    minutes, seconds = divmod(int(eta_s), 60)
    return f"{minutes}:{seconds:02d} left"
