"""Server-sent events: what changed in the list, what a running run measures and says."""

import asyncio
import stat
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from digsite.base import atomic, jsonl, stored
from digsite.record.journal import read_series
from digsite.record.layout import RunDir
from digsite.record.shown import row_of_run
from digsite.record.status import ENDED
from digsite.report.plots import Series
from digsite.serve.index import Index

HEADERS = {"content-type": "text/event-stream", "x-accel-buffering": "no"}
EVERY_S = 1.0
CHUNK = 400_000  # bytes of journal or log in one event


def write_event(name: str, value: Any, id_: str = "") -> str:
    head = f"id: {id_}\n" if id_ else ""
    return f"{head}event: {name}\ndata: {atomic.dump_json(value)}\n\n"


async def list_changes(request: Request, index: Index) -> AsyncIterator[str]:
    """The number of the list's version, whenever it moves; the page asks for the rows that it shows."""
    seen = None
    while not await request.is_disconnected():
        await run_in_threadpool(index.entries)
        if index.version != seen:
            seen = index.version
            yield write_event("list", {"version": seen})
        await asyncio.sleep(EVERY_S)


async def run_changes(request: Request, run: RunDir, journal: int, log: int) -> AsyncIterator[str]:
    """New measurements, log lines and states until the run has ended and everything was told."""
    sent = None
    while not await request.is_disconnected():
        status = await run_in_threadpool(run.status)
        news: list[tuple[str, Any]] = []
        text, journal = read_tail(run.journal, journal)
        if records := [line for line in text.splitlines() if line]:
            news.append(("metrics", [r for r in map(_parse_record, records) if r]))
        text, log = read_tail(run.log, log)
        if text:
            news.append(("log", text))
        shown = _visible_state(run, status)
        if shown != sent:
            sent = shown
            news.append(("status", shown))
        for name, value in news:
            yield write_event(name, value, f"{journal}-{log}")
        if not news and status.shown_state in ENDED:
            yield write_event("end", {"state": status.shown_state})
            return
        await asyncio.sleep(EVERY_S)


def _visible_state(run: RunDir, status: Any) -> dict[str, Any]:
    row = row_of_run(run, status)
    row.pop("heartbeat")  # it beats without anything having happened
    stamps = [_stamp_of(path) for path in (run.figures, run.tables, run.views, run.results)]
    return {**row, "files": stamps}


def _stamp_of(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def read_tail(path: Path, offset: int) -> tuple[str, int]:
    """Whole lines after `offset`; a file that became shorter (a resumed run) is told from its new end on."""
    if not path.is_file() or path.is_symlink():
        return "", offset
    try:
        size = path.stat().st_size
        if size <= offset:
            return "", size
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(CHUNK)
    except OSError:  # it vanished while it was looked at
        return "", offset
    if len(data) == CHUNK and b"\n" not in data:  # a line without an end is not waited for
        return "", offset + len(data)
    end = data.rfind(b"\n") + 1
    return data[:end].decode(errors="replace"), offset + end


def _parse_record(line: str) -> dict[str, Any] | None:
    value = stored.parse_json(line)
    return value if isinstance(value, dict) else None


def start_of_tail(path: Path, n_bytes: int = 60_000) -> int:
    """An offset at the start of a line, so that the last `n_bytes` can be shown."""
    if not path.is_file() or path.is_symlink():
        return 0
    try:
        size = path.stat().st_size
        if size <= n_bytes:
            return 0
        with path.open("rb") as file:
            file.seek(size - n_bytes)
            return size - n_bytes + len(file.readline(n_bytes))
    except OSError:
        return 0


# Measurements for charts: parsed once per state of the file, thinned without losing a spike.

WHOLE = 50_000_000  # bytes of a journal that are read line by line; of a longer one every so many lines


def journal_columns(path: Path) -> dict[str, Series]:
    """Every measured name with its steps and values."""
    try:
        facts = path.lstat()
    except OSError:
        return {}
    return _parse_columns(path, facts.st_mtime_ns, facts.st_size) if stat.S_ISREG(facts.st_mode) else {}


@lru_cache(maxsize=2)
def _parse_columns(path: Path, modified: int, size: int) -> dict[str, Series]:
    return read_series(path, every=1 + size // WHOLE)


def read_clock(path: Path) -> Series:
    """When the lines of a journal were written: rising steps, and seconds since the first of them."""
    steps: list[float] = []
    times: list[float] = []
    for record in jsonl.read_records(path):
        step, at = (stored.finite_number(record.get(name)) for name in ("step", "time"))
        if step is None or at is None:
            continue
        if not steps or step > steps[-1]:  # a resumed run may repeat steps: the first time counts
            steps.append(step)
            times.append(at)
    return steps, [at - times[0] for at in times]
