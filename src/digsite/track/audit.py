"""Checks on imported tracking results: constant series, wrong time units, undefined statistics, mixed runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.track.published import lenient_json
from digsite.track.series import check_steps, is_constant

STEP_NAMES = ("step", "steps", "global_step", "iteration")
LAYER_NAMES = ("layer", "layer_name", "module")
RUN_NAMES = ("run", "experiment", "experiment_name", "model")
NOT_MEASURES = {
    "sample",
    "epoch",
    "index",
    "loss",
    "grad_norm",
    "cluster",
    "seed",
    "depth",
    "rows",
    *STEP_NAMES,
}
EVENTS = {"magnitude", "relative_change"}  # columns of lists of events: their rows are no series
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
    tables = {}
    for path in files:
        name = str(path.relative_to(folder)) if path != folder else path.name
        if _kind(path) == "json":
            findings += list(check_json(path.read_text(), name))
            continue
        table = pd.read_csv(path)
        tables[name] = table
        findings += check_table(table, name)
        step = _first(table, STEP_NAMES)
        if step is not None and not _is_event_list(table):
            ends[path.name.split(".")[0]] = float(np.max(table[step].to_numpy(float)))
    for name, table in tables.items():
        if _is_event_list(table):
            findings += list(check_event_units(table, ends, name))
    return findings


def check_table(table: pd.DataFrame, file: str) -> list[Finding]:
    """A table of series: one row per step, or per step and layer."""
    step = _first(table, STEP_NAMES)
    if step is None or _is_event_list(table):
        return list(_holes(table, file))
    findings = list(_holes(table, file))
    run = _first(table, RUN_NAMES)
    if run is not None and len(set(table[run])) > 1:
        findings.append(
            Finding("note", file, run, f"holds {len(set(table[run]))} runs; they are read one by one")
        )
    keys = [c for c in (run, _first(table, LAYER_NAMES)) if c]
    groups = table.groupby(keys, sort=False) if keys else [("", table)]
    constants: dict[str, int] = {}
    count = 0
    for key, part in groups:
        if len(part) < FEWEST:
            continue
        count += 1
        where = " / ".join(map(str, key)) if isinstance(key, tuple) else str(key)
        try:
            check_steps(part[step].to_numpy(float), len(part))
        except UsageError as error:
            findings.append(Finding("wrong", file, where, error.message))
        for measure in measure_columns(table):
            values = part[measure].to_numpy(float)
            constants[measure] = constants.get(measure, 0) + is_constant(values[np.isfinite(values)])
    findings += [
        Finding(
            "wrong" if constant == count else "doubt",
            file,
            measure,
            f"constant up to rounding in {constant} of {count} series: jumps and settling times say nothing",
        )
        for measure, constant in constants.items()
        if constant
    ]
    return findings


def measure_columns(table: pd.DataFrame) -> list[str]:
    numeric = table.select_dtypes("number").columns
    return [name for name in numeric if name not in NOT_MEASURES]


def check_event_units(table: pd.DataFrame, ends: dict[str, float], file: str) -> Iterator[Finding]:
    """A list of events whose times never reach the later part of any run was timed in other units."""
    step, run = _first(table, STEP_NAMES), _first(table, RUN_NAMES)
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


def _holes(table: pd.DataFrame, file: str) -> Iterator[Finding]:
    for name in table.select_dtypes("number").columns:
        holes = int((~np.isfinite(table[name].to_numpy(float))).sum())
        if holes:
            yield Finding(
                "doubt",
                file,
                name,
                f"{holes} of {len(table)} values are missing or not finite; they are left out",
            )


def _is_event_list(table: pd.DataFrame) -> bool:
    return bool(EVENTS & set(table.columns))


def _first(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table.columns), None)


def _kind(path: Path) -> str | None:
    name = path.name.lower()
    return "csv" if name.endswith((".csv", ".csv.gz")) else "json" if name.endswith(".json") else None
