"""Checks on imported tracking results: constant series, wrong time units, undefined statistics, mixed runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.track.subjects.published import lenient_json
from digsite.track.subjects.table_checks import RUN_NAMES, STEP_NAMES, Finding, check_table, first, holes

EVENTS = {"magnitude", "relative_change"}  # columns of lists of events: their rows are no series


def check_folder(folder: Path) -> list[Finding]:
    """Every CSV and JSON below a folder, and the units across files: events later than the runs' samples allow."""
    if not folder.exists():
        raise NotFound(f"There is no folder '{folder}'.")
    inside = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    files = [path for path in inside if _kind(path)]
    if not files:
        raise UsageError(f"'{folder}' {'is' if folder.is_file() else 'holds'} no CSV or JSON.")
    findings: list[Finding] = []
    ends: dict[str, float] = {}
    events: dict[str, pd.DataFrame] = {}
    for path in files:
        name = str(path.relative_to(folder)) if path != folder else path.name
        if _kind(path) == "json":
            findings += list(check_json(path.read_text(), name))
            continue
        table = pd.read_csv(path)
        if _is_event_list(table):
            events[name] = table
            findings += list(holes(table, name))
            continue
        findings += check_table(table, name)
        step = first(table, STEP_NAMES)
        if step is not None:
            ends[path.name.split(".")[0]] = float(np.max(table[step].to_numpy(float)))
    for name, table in events.items():
        findings += list(check_event_units(table, ends, name))
    return findings


def check_event_units(table: pd.DataFrame, ends: dict[str, float], file: str) -> Iterator[Finding]:
    """A list of events whose times never reach the later part of any run was timed in other units."""
    step, run = first(table, STEP_NAMES), first(table, RUN_NAMES)
    if step is None:
        return
    if "phase" in table:
        reach = float(np.max(table["phase"].to_numpy(float)))
        if reach < 0.5:
            yield Finding(
                "doubt",
                file,
                "phase",
                f"never exceeds {reach:.4g}: the second half of training cannot be seen",
            )
    if run is None or not ends:
        return
    pairs = zip(table[step].to_numpy(float), table[run], strict=True)
    shares = [at / ends[name] for at, name in pairs if name in ends]
    if not shares:
        return
    share = max(shares)
    if share < 0.5:
        yield Finding(
            "wrong",
            file,
            step,
            f"the latest event lies at {share:.1%} of its run's last step: the times look like sample indices, "
            f"about {1 / share:.0f} times too small",
        )


def check_json(text: str, file: str) -> Iterator[Finding]:
    bare = sum(text.count(word) for word in (": NaN", ": Infinity", ": -Infinity", "[NaN", ", NaN"))
    try:
        lenient_json(text)
    except ValueError as error:
        yield Finding("wrong", file, "", f"is not JSON: {error}")
        return
    if bare:
        yield Finding(
            "wrong", file, "", f"{bare} bare NaN or Infinity: not JSON, and the statistics are undefined"
        )


def usable(findings: list[Finding]) -> None:
    """Refuses results with a wrong time axis."""
    for finding in findings:
        if finding.severity == "wrong" and "sample indices" in finding.what:
            raise DigsiteError(
                f"'{finding.file}' cannot be used: {finding.what}.", hint="Multiply by the sampling interval."
            )


def _is_event_list(table: pd.DataFrame) -> bool:
    return bool(EVENTS & set(table.columns))


def _kind(path: Path) -> str | None:
    name = path.name.lower()
    return "csv" if name.endswith((".csv", ".csv.gz")) else "json" if name.endswith(".json") else None
