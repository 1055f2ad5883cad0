"""Checks on imported results: a table of series row by row, and a folder or file of somebody's results before it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from digsite.base import families
from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.track.core.series import MINIMUM, check_steps, is_constant
from digsite.track.subjects.published import lenient_json

STEP_NAMES = ("step", "steps", "global_step", "iteration")
LAYER_NAMES = ("layer", "layer_name", "module")
RUN_NAMES = ("run", "experiment", "experiment_name", "model")
NOT_MEASURES = {
    *("sample", "epoch", "index", "loss", "grad_norm", "cluster", "seed", "depth", "rows"),
    *STEP_NAMES,
}
# Ratios of the energy to its largest parts: one direction gives one, and nothing gives less.
AT_LEAST_ONE = {
    name for name, one in families.scan_family("digsite.track.core.measures").items() if one.IS_DIMENSION
}
FEWEST = 3


@dataclass(frozen=True)
class Finding:
    """One thing to know about a file before its numbers are used."""

    severity: Literal["wrong", "doubt", "note"]
    file: str
    where: str
    what: str

    def row(self) -> dict[str, Any]:
        return asdict(self)


def check_table(table: pd.DataFrame, file: str) -> list[Finding]:
    step, run = first_present(table, STEP_NAMES), first_present(table, RUN_NAMES)
    findings = list(find_holes(table, file))
    if step is None:
        return findings
    if run is not None and (runs := len(set(table[run]))) > 1:
        findings.append(Finding("note", file, run, f"holds {runs} runs; they are read one by one"))
    series = {where: part for where, part in _split_series(table, run) if len(part) >= FEWEST}
    for where, part in series.items():
        findings += _check_times(part[step].to_numpy(float), file, where)
    return findings + [f for measure in measure_columns(table) for f in _check_values(series, measure, file)]


def _split_series(table: pd.DataFrame, run: str | None) -> Iterator[tuple[str, pd.DataFrame]]:
    keys = [c for c in (run, first_present(table, LAYER_NAMES)) if c]
    for key, part in table.groupby(keys, sort=False) if keys else [("", table)]:
        yield " / ".join(map(str, key)) if isinstance(key, tuple) else str(key), part


def _check_times(steps: np.ndarray, file: str, where: str) -> Iterator[Finding]:
    if len(steps) < MINIMUM:
        what = f"{len(steps)} samples are too few to look for jumps; {MINIMUM} are needed"
        yield Finding("doubt", file, where, what)
    try:
        check_steps(steps, len(steps))
    except UsageError as error:
        yield Finding("wrong", file, where, error.message)


def _check_values(series: dict[str, pd.DataFrame], measure: str, file: str) -> Iterator[Finding]:
    """What is wrong with a measure, once for all series of the table."""
    counts: Counter[str] = Counter()
    for part in series.values():
        values = part[measure].to_numpy(float)
        values = values[np.isfinite(values)]
        if len(values) == 0:
            counts["no finite value in {}"] += 1
            continue
        if is_constant(values):
            counts["constant up to rounding in {}: jumps and settling times say nothing"] += 1
        if measure.removeprefix("centered/") in AT_LEAST_ONE and values.min() < 1 - 1e-6:
            counts["below 1 in {}, which no dimension can be: is it in other units?"] += 1
    for what, count in counts.items():
        severity = "wrong" if count == len(series) else "doubt"
        yield Finding(severity, file, measure, what.format(f"{count} of {len(series)} series"))


def measure_columns(table: pd.DataFrame) -> list[str]:
    numeric = table.select_dtypes("number").columns
    return [name for name in numeric if name not in NOT_MEASURES]


def find_holes(table: pd.DataFrame, file: str) -> Iterator[Finding]:
    for name in table.select_dtypes("number").columns:
        missing = int((~np.isfinite(table[name].to_numpy(float))).sum())
        if missing:
            what = f"{missing} of {len(table)} values are missing or not finite; they are left out"
            yield Finding("doubt", file, name, what)


def first_present(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table.columns), None)


# A file or folder: constant series, wrong time units, undefined statistics, mixed runs.

EVENTS = {"magnitude", "relative_change"}  # columns of lists of events: their rows are no series


def check_folder(folder: Path) -> list[Finding]:
    """Every CSV and JSON below a folder, and the units across files: events later than the runs' samples allow."""
    if not folder.exists():
        raise NotFound(f"There is no folder '{folder}'.")
    inside = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    files = [path for path in inside if _table_kind(path)]
    if not files:
        raise UsageError(f"'{folder}' {'is' if folder.is_file() else 'holds'} no CSV or JSON.")
    findings: list[Finding] = []
    ends: dict[str, float] = {}
    events: dict[str, pd.DataFrame] = {}
    for path in files:
        name = str(path.relative_to(folder)) if path != folder else path.name
        if _table_kind(path) == "json":
            findings += list(check_json(path.read_text(), name))
            continue
        table = pd.read_csv(path)
        if _is_event_list(table):
            events[name] = table
            findings += list(find_holes(table, name))
            continue
        findings += check_table(table, name)
        step = first_present(table, STEP_NAMES)
        if step is not None:
            ends[path.name.split(".")[0]] = float(np.max(table[step].to_numpy(float)))
    for name, table in events.items():
        findings += list(check_event_units(table, ends, name))
    return findings


def check_event_units(table: pd.DataFrame, ends: dict[str, float], file: str) -> Iterator[Finding]:
    """A list of events whose times never reach the later part of any run was timed in other units."""
    step, run = first_present(table, STEP_NAMES), first_present(table, RUN_NAMES)
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


def refuse_unusable(findings: list[Finding]) -> None:
    """Refuses results with a wrong time axis."""
    for finding in findings:
        if finding.severity == "wrong" and "sample indices" in finding.what:
            raise DigsiteError(
                f"'{finding.file}' cannot be used: {finding.what}.", hint="Multiply by the sampling interval."
            )


def _is_event_list(table: pd.DataFrame) -> bool:
    return bool(EVENTS & set(table.columns))


def _table_kind(path: Path) -> str | None:
    name = path.name.lower()
    return "csv" if name.endswith((".csv", ".csv.gz")) else "json" if name.endswith(".json") else None
