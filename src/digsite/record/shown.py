"""A run as JSON: what `--json` prints and what the dashboard's /api answers, so that the two never disagree."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from digsite.base import atomic
from digsite.record.layout import RunDir
from digsite.record.status import Status


def as_row(run: RunDir, status: Status) -> dict[str, Any]:
    """One run in a list."""
    return {**asdict(status), "state": status.shown_state, "path": str(run.path)}


def in_full(run: RunDir) -> dict[str, Any]:
    """Everything about one run but the measurements."""
    return {
        "path": str(run.path),
        "launch": run.plan(),
        "status": {**asdict(run.status()), "state": run.status().shown_state},
        "results": atomic.read_json(run.results),
        "views": atomic.read_json(run.views, default=[]),
        "files": sorted(path.relative_to(run.path).as_posix() for path in files(run.path)),
    }


def files(folder: Path) -> Iterator[Path]:
    """Plain files that are meant to be looked at: nothing hidden, no links."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if entry.is_dir():
                yield from files(Path(entry.path))
            elif entry.is_file():
                yield Path(entry.path)
