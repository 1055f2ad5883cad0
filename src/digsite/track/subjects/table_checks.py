"""Checks on a table of series: one row per step, or per step and layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from digsite.base import families
from digsite.base.errors import UsageError
from digsite.track.core.series import MINIMUM, check_steps, is_constant

STEP_NAMES = ("step", "steps", "global_step", "iteration")
LAYER_NAMES = ("layer", "layer_name", "module")
RUN_NAMES = ("run", "experiment", "experiment_name", "model")
NOT_MEASURES = {
    *("sample", "epoch", "index", "loss", "grad_norm", "cluster", "seed", "depth", "rows"),
    *STEP_NAMES,
}
# Ratios of the energy to its largest parts: one direction gives one, and nothing gives less.
AT_LEAST_ONE = {
    name for name in families.scan_family("digsite.track.core.measures") if name != "spectral_norm"
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
    step, run = first(table, STEP_NAMES), first(table, RUN_NAMES)
    findings = list(holes(table, file))
    if step is None:
        return findings
    if run is not None and (runs := len(set(table[run]))) > 1:
        findings.append(Finding("note", file, run, f"holds {runs} runs; they are read one by one"))
    series = {where: part for where, part in _series(table, run) if len(part) >= FEWEST}
    for where, part in series.items():
        findings += _steps(part[step].to_numpy(float), file, where)
    return findings + [f for measure in measure_columns(table) for f in _values(series, measure, file)]


def _series(table: pd.DataFrame, run: str | None) -> Iterator[tuple[str, pd.DataFrame]]:
    keys = [c for c in (run, first(table, LAYER_NAMES)) if c]
    for key, part in table.groupby(keys, sort=False) if keys else [("", table)]:
        yield " / ".join(map(str, key)) if isinstance(key, tuple) else str(key), part


def _steps(steps: np.ndarray, file: str, where: str) -> Iterator[Finding]:
    if len(steps) < MINIMUM:
        what = f"{len(steps)} samples are too few to look for jumps; {MINIMUM} are needed"
        yield Finding("doubt", file, where, what)
    try:
        check_steps(steps, len(steps))
    except UsageError as error:
        yield Finding("wrong", file, where, error.message)


def _values(series: dict[str, pd.DataFrame], measure: str, file: str) -> Iterator[Finding]:
    """What is wrong with a measure, once for all series of the table."""
    found: Counter[str] = Counter()
    for part in series.values():
        values = part[measure].to_numpy(float)
        values = values[np.isfinite(values)]
        if len(values) == 0:
            found["no finite value in {}"] += 1
            continue
        if is_constant(values):
            found["constant up to rounding in {}: jumps and settling times say nothing"] += 1
        if measure.removeprefix("centered/") in AT_LEAST_ONE and values.min() < 1 - 1e-6:
            found["below 1 in {}, which no dimension can be: is it in other units?"] += 1
    for what, count in found.items():
        severity = "wrong" if count == len(series) else "doubt"
        yield Finding(severity, file, measure, what.format(f"{count} of {len(series)} series"))


def measure_columns(table: pd.DataFrame) -> list[str]:
    numeric = table.select_dtypes("number").columns
    return [name for name in numeric if name not in NOT_MEASURES]


def holes(table: pd.DataFrame, file: str) -> Iterator[Finding]:
    for name in table.select_dtypes("number").columns:
        missing = int((~np.isfinite(table[name].to_numpy(float))).sum())
        if missing:
            what = f"{missing} of {len(table)} values are missing or not finite; they are left out"
            yield Finding("doubt", file, name, what)


def first(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table.columns), None)
