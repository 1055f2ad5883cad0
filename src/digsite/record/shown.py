"""A run as JSON: what `--json` prints and what the dashboard's /api answers, so that the two never disagree."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from digsite.base import stored
from digsite.base.errors import DigsiteError
from digsite.base.stored import Damaged, is_text
from digsite.record.layout import RunDir
from digsite.record.results import Claim, Results, parse_results
from digsite.record.status import Status


def read_claims(run: RunDir) -> Results | Damaged | None:
    """The claims of a run, nothing when it has none, or why its file cannot be believed."""
    raw = stored.read_json(run.results, kind=dict)
    if raw is None or isinstance(raw, Damaged):
        return raw
    try:
        results = parse_results(raw)
        wrong = [c.name for c in results.claims if not stored.fits_type(c, Claim)]
        if wrong:
            return Damaged(f"the claim '{str(wrong[0])[:60]}' holds something else than numbers and text")
        return results
    except DigsiteError as error:
        return Damaged(error.message)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OSError) as error:
        return Damaged(f"it is of another form ({type(error).__name__})")


def row_of_run(run: RunDir, status: Status) -> dict[str, Any]:
    """One run in a list."""
    return {**status.record(), "state": status.shown_state, "path": str(run.path)}


def in_full(run: RunDir) -> dict[str, Any]:
    """Everything about one run but the measurements; `damaged` says of which records nothing could be read, and why."""
    status, launch = run.status(), run.read_asked()
    read = {
        "results": stored.read_json(run.results, kind=dict),
        "views": stored.read_json(run.views, kind=list),
    }
    sections = {"launch": launch, **read}
    why = {name: value.reason for name, value in sections.items() if isinstance(value, Damaged)}
    if status.state == "damaged":
        why["status"] = status.message
    shown = {name: None if isinstance(value, Damaged) else value for name, value in sections.items()}
    return {
        "path": str(run.path),
        "launch": shown["launch"],
        "status": {**status.record(), "state": status.shown_state},
        "results": shown["results"],
        "views": shown["views"] or [],
        "files": sorted(path.relative_to(run.path).as_posix() for path in list_files(run.path)),
        "damaged": why,
    }


def _is_shown(entry: os.DirEntry[str]) -> bool:
    """A name that is not Unicode cannot stand in a page."""
    return not entry.name.startswith(".") and not entry.is_symlink() and is_text(entry.name)


def list_files(folder: Path) -> Iterator[Path]:
    """Plain files that are meant to be looked at: nothing hidden, no links."""
    try:
        with os.scandir(folder) as entries:
            files = [entry for entry in entries if _is_shown(entry)]
    except OSError:  # it vanished while it was looked at, or it is no folder
        return
    for entry in files:
        if entry.is_dir():
            yield from list_files(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)
