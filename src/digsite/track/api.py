"""What a path holds, a run, checkpoints or somebody's results, and what the room says about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from torch import nn

from digsite.base.errors import DigsiteError, UsageError
from digsite.record.journal import read_series
from digsite.track.core.detect import ALL_CHANGES, LEVEL, Finds, finds_of_all
from digsite.track.core.jumps import Jump
from digsite.track.core.series import MINIMUM, Series
from digsite.track.judge.series_audit import SeriesAudit, audit_series
from digsite.track.subjects import checkpoints, table_checks
from digsite.track.subjects.checkpoint_prints import read_prints, step_of_reference
from digsite.weights import WeightBundle, read_weights
from digsite.weights.bundle import bundle_module


@dataclass(frozen=True)
class Reading:
    """Series with their jumps and transitions (those of q up to 0.05), or findings of an import check; checkpoints also
    with the audit of their series."""

    kind: str
    found: list[tuple[Series, Finds]] = field(default_factory=list)
    short: int = 0
    findings: list[table_checks.Finding] = field(default_factory=list)
    series_audit: SeriesAudit | None = None
    probe: str = ""  # on which activations were taken beside the weights

    def as_json(self) -> dict[str, Any]:
        jumps = [_describe_jump(s, j) for s, finds in self.found for j in finds.jumps]
        return {
            "kind": self.kind,
            "series": len(self.found),
            "too_short": self.short,
            "constant": sum(s.constant for s, _ in self.found),
            "jumps": jumps,
            "does_not_apply": [
                {"layer": s.layer, "measure": s.measure, "because": finds.because}
                for s, finds in self.found
                if finds.because
            ],
            "undated": [
                {"layer": s.layer, "measure": s.measure, "because": finds.undated}
                for s, finds in self.found
                if finds.undated
            ],
            "findings": [finding.row() for finding in self.findings],
        } | ({} if self.series_audit is None else {"audit": self.series_audit.as_json()})

    @property
    def table(self) -> pd.DataFrame:
        """One row for each jump."""
        return pd.DataFrame([_describe_jump(s, j) for s, finds in self.found for j in finds.jumps])

    def lines(self) -> list[str]:
        if self.kind == "results":
            shown = [f"{f.severity:<6} {f.file}  {f.where}: {f.what}" for f in self.findings]
            wrong = sum(f.severity == "wrong" for f in self.findings)
            return [*shown, f"{len(self.findings)} findings, {wrong} of them wrong"]
        audited = [] if self.series_audit is None else self.series_audit.lines()
        if not self.found and not self.short:
            return audited
        constant = sum(s.constant for s, _ in self.found)
        kind = f"{self.kind} (weights, and activations on '{self.probe}')" if self.probe else self.kind
        head = f"{kind}: {len(self.found)} series, {constant} constant, {self.short} too short for jumps"
        return [
            *audited,
            head,
            *(_jump_line(s, j) for s, finds in self.found for j in finds.jumps),
            *self.list_unanswered(),
        ]

    def list_unanswered(self) -> list[str]:
        """One line per reason for which series could not be judged or dated, with how many of them there are."""
        return [
            *self._count_reasons("the jump test does not apply to", lambda finds: finds.because),
            *self._count_reasons("a rise stands out and is no transition in", lambda finds: finds.undated),
        ]

    def _count_reasons(self, what: str, reason_of: Callable[[Finds], str]) -> list[str]:
        """A line for each reason, with the first series that has it."""
        pairs = [(s, reason_of(finds)) for s, finds in self.found if reason_of(finds)]
        reasons = Counter(reason.partition(":")[0] for _, reason in pairs)
        examples = {reason.partition(":")[0]: (s, reason) for s, reason in reversed(pairs)}
        return [
            f"{what} {count} series, as in {examples[reason][0].layer or 'model'} {examples[reason][0].measure}: "
            f"{examples[reason][1]}"
            for reason, count in reasons.items()
        ]


def read_target(path: Path, measures: Sequence[str], detector: str, probe: str = "") -> Reading:
    """A run directory has launch.yaml, checkpoints have steps in their names, all else is results."""
    if (path / "launch.yaml").is_file():
        return _judge_stored("run", journal_series(path / "metrics.jsonl"), measures, detector)
    if path.is_dir() and _looks_like_checkpoints(path):
        checked, stored = _audit_stored(checkpoints.checkpoint_steps(path))
        stored_series = checkpoints.series_of(checkpoints.weight_table(stored))
        seen, activations = _see_activations(stored, probe)
        stored_series += activations
        judged = _judge_stored("checkpoints", stored_series, measures, detector)
        return replace(judged, series_audit=checked, probe=seen)
    if probe:
        raise UsageError(
            f"'{path}' holds no checkpoints, so there is nothing to see the probe '{probe}' with."
        )
    return Reading("results", findings=table_checks.check_folder(path))


def _see_activations(stored: Sequence[tuple[int, Path]], probe: str) -> tuple[str, list[Series]]:
    """The probe that was used, and its series. Where nobody named one, weights are enough if the networks cannot be run."""
    if probe == checkpoints.NO_PROBE:
        return "", []
    if probe:
        return probe, checkpoints.activation_series(stored, probe)
    usual = checkpoints.default_probe(stored)
    try:
        return usual, checkpoints.activation_series(stored, usual) if usual else []
    except DigsiteError:
        return "", []


def track(what: Any, *, measures: Sequence[str] = (), detector: str = "edge", probe: str = "") -> Reading:
    """Jumps in a run or a folder of checkpoints (a path), or in a series of models (references, modules, state dicts).

    What comes back has `found` (series with their jumps), `table` (one row for each jump) and `lines()`.
    """
    if isinstance(what, str | Path):
        return read_target(Path(what), measures, detector, probe)
    models = list(what)
    if all(isinstance(model, str | Path) for model in models):
        return read_references([str(model) for model in models], measures, detector)
    bundles = [bundle_module(m) if isinstance(m, nn.Module) else WeightBundle(dict(m)) for m in models]
    table = checkpoints.weight_table(enumerate(bundles))
    return _judge_stored("checkpoints", checkpoints.series_of(table), measures, detector)


def read_references(references: Sequence[str], measures: Sequence[str], detector: str) -> Reading:
    """Models by reference, in the order of the training: their steps are the numbers in their names, else places.

    With steps they are audited first, as a folder is, and what is wrong is left out.
    """
    steps = [step for step in map(step_of_reference, references) if step is not None]
    checked = None
    if len(steps) == len(references) and sorted(set(steps)) == steps:
        checked, stored = _audit_stored(list(zip(steps, references, strict=True)))
    else:
        stored = list(enumerate(references))
    table = checkpoints.weight_table((step, read_weights(str(source))) for step, source in stored)
    return replace(
        _judge_stored("checkpoints", checkpoints.series_of(table), measures, detector), series_audit=checked
    )


def audit_target(sources: Sequence[str]) -> Reading:
    """The audit alone: of a folder of checkpoints, of references in the order of their steps, or of a text file of them.

    sources: one folder, one file with a reference a line, or several paths and references (`hub:org/name@step1000`).
    """
    return Reading("checkpoints", series_audit=audit_series(list(read_prints(_list_sources(sources)))))


def _list_sources(sources: Sequence[str]) -> list[tuple[int, str | Path]]:
    only = Path(sources[0]) if len(sources) == 1 else None
    if only is not None and only.is_dir():
        return list(checkpoints.checkpoint_steps(only))
    if only is not None and only.is_file() and only.suffix not in checkpoints.FILES:
        sources = [line.strip() for line in only.read_text().splitlines() if line.strip()]
    steps = [(step_of_reference(source), source) for source in sources]
    for step, source in steps:
        if step is None:
            raise UsageError(
                f"'{source}' names no step.",
                hint="Name checkpoints like step_100.safetensors or hub:org/name@step100.",
            )
    seen: dict[int, str] = {}
    for step, source in steps:
        if step in seen:
            raise UsageError(
                f"'{seen[step]}' and '{source}' are both of step {step}.", hint="Audit one run at a time."
            )
        seen[step] = source  # pyright: ignore[reportArgumentType]
    if len(seen) < 2:
        raise UsageError(
            f"A series needs two checkpoints, and '{sources[0]}' is one.",
            hint="Name a folder, or several references.",
        )
    return [(step, source) for step, source in steps if step is not None]


Source = TypeVar("Source", str, Path)


def _audit_stored(stored: Sequence[tuple[int, Source]]) -> tuple[SeriesAudit, list[tuple[int, Source]]]:
    """What is wrong with the series, and the checkpoints that are left for the analysis."""
    checked = audit_series(list(read_prints(stored)))
    kept = [(step, path) for step, path in stored if step in checked.kept]
    if len(kept) < 2:
        first = next(f.what for f in checked.findings if f.severity == "wrong")
        raise UsageError(
            f"Too little is left to analyze, as {first}",
            hint="See what is wrong: digsite track FOLDER --audit",
        )
    return checked, kept


def journal_series(path: Path) -> list[Series]:
    """Each journaled number over its training steps."""
    if not path.is_file():
        raise UsageError(f"'{path.parent.name}' has no journal: nothing was measured during training.")
    rows = [
        {"step": step, "layer": name.rpartition("/")[0], "measure": name.rpartition("/")[2], "value": value}
        for name, (steps, values) in read_series(path).items()
        for step, value in zip(steps, values, strict=True)
    ]
    if not rows:
        raise UsageError(f"The journal of '{path.parent.name}' holds no numbers by training step.")
    table = pd.DataFrame(rows).drop_duplicates(["step", "layer", "measure"], keep="last").sort_values("step")
    return checkpoints.series_of(table)


def _judge_stored(kind: str, series_: list[Series], measures: Sequence[str], detector: str) -> Reading:
    chosen = [s for s in series_ if not measures or any(m in s.measure for m in measures)]
    if not chosen:
        known = ", ".join(sorted({s.measure for s in series_}))
        raise UsageError(
            f"No measure contains {' or '.join(map(repr, measures))}.", hint=f"There are: {known}."
        )
    long_enough = [s for s in chosen if len(s.values) >= MINIMUM]
    finds = finds_of_all(long_enough, detector, max_q=LEVEL, kinds=ALL_CHANGES)
    return Reading(kind, finds, len(chosen) - len(long_enough))


def _looks_like_checkpoints(path: Path) -> bool:
    return any(child.suffix in checkpoints.FILES for child in path.iterdir()) or any(
        grandchild.suffix in checkpoints.FILES
        for child in path.iterdir()
        if child.is_dir()
        for grandchild in child.iterdir()
    )


def _describe_jump(series: Series, jump: Jump) -> dict[str, Any]:
    return {"layer": series.layer, "measure": series.measure, "direction": jump.direction, **asdict(jump)}


def _jump_line(series: Series, jump: Jump) -> str:
    q = "" if jump.q is None else f"  q {jump.q:.3f}" if jump.q >= 0.001 else f"  q {jump.q:.0e}"
    if jump.onset is not None:
        return (
            f"{series.layer or 'model'} {series.measure}: transition {jump.direction}, step {jump.step:g} "
            f"({jump.low:g}-{jump.high:g}), from {jump.onset:g} to {jump.end:g}, {jump.before:.4g} to {jump.after:.4g} "
            f"({jump.relative_change:+.1%}){q}"
        )
    return (
        f"{series.layer or 'model'} {series.measure}: {jump.kind} {jump.direction} at step {jump.step:g} "
        f"[{jump.low:g}, {jump.high:g}], {jump.before:.4g} to {jump.after:.4g} ({jump.relative_change:+.1%}){q}"
    )
