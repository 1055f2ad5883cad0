"""A Weights & Biases report about a set of mirrored runs: saved to the hub, or as a file while offline."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from digsite.base import atomic, settings
from digsite.base.errors import DigsiteError, UsageError, require_package
from digsite.record.journal import read_series
from digsite.record.layout import RunDir
from digsite.report.claims import claim_row
from digsite.report.comparison import Comparison, compare_facts
from digsite.report.facts import gather_facts
from digsite.report.numbers import show_setting

PANELS = 12


def publish_report(runs: Sequence[RunDir], out: Path, *, title: str, project: str, entity: str) -> str:
    """The report's address; offline, or without an entity, the file from which it can be saved later."""
    report = compose_report(runs, title=title, project=project, entity=entity or "entity")
    if settings.is_offline() or not entity:
        atomic.write_json(out, as_stored(report))
        return str(out)
    try:
        report.save()
    except Exception as error:  # whatever a hub can answer is no fault of the runs
        raise DigsiteError(
            f"W&B did not take the report: {error}", hint="Write a file: DIGSITE_OFFLINE=1"
        ) from None
    return report.url


def compose_report(runs: Sequence[RunDir], *, title: str, project: str, entity: str) -> Any:
    """Question, settings and pooled claims as text, then panels over exactly these runs."""
    api, compared = _import_api(), compare_facts([gather_facts(run) for run in runs])
    chosen = api.Runset(name=title, filters=f"ID in {[run.id for run in runs]!r}")
    measured = list(dict.fromkeys(name for run in runs[:20] for name in read_series(run.journal)))
    lines = [api.LinePlot(x="step", y=[name]) for name in measured[:PANELS]]
    axes = [api.Config(path) for path in compared.differing] + [
        api.SummaryMetric(f"{_mirror_place(compared, n)}/{n}") for n in compared.claims
    ]
    columns = [api.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes[:PANELS]]
    panels = [*([api.ParallelCoordinatesPlot(columns=columns)] if len(columns) > 1 else []), *lines]
    blocks = [
        api.MarkdownBlock(text=compare_as_markdown(compared)),
        api.PanelGrid(runsets=[chosen], panels=panels),
    ]
    return api.Report(
        entity=entity, project=project, title=title, description=compared.runs[0].purpose, blocks=blocks
    )


def as_stored(report: Any) -> dict[str, Any]:
    """What W&B itself stores of a report."""
    model = report._to_model()
    spec = json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
    return {
        "displayName": report.title,
        "description": report.description,
        "projectName": report.project,
        "spec": spec,
    }


def compare_as_markdown(compared: Comparison) -> str:
    names = list(compared.claims)
    settings_ = list(compared.groups[0].settings)
    head = [*settings_, "runs", *names]
    rows = [
        [
            *(show_setting(v) for v in group.settings.values()),
            str(len(group.members)),
            *(_say_claim(group.claims.get(n)) for n in names),
        ]
        for group in compared.groups
    ]
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]]
    note = "Means over seeds with 95 % intervals; null is what chance or a trivial baseline gives."
    return "\n".join([*dict.fromkeys(run.purpose for run in compared.runs), "", *lines, "", note])


def _mirror_place(compared: Comparison, name: str) -> str:
    """Where a mirror puts a value: the headline is what it leads with."""
    if any(name == claim.name for run in compared.runs for claim in run.leading):
        return "headline"
    return "measurements" if name in compared.measured else "claims"


def _say_claim(claim: Any) -> str:
    if claim is None:
        return ""
    shown = claim_row(claim)
    return (
        shown.value
        + (f" ({shown.interval})" if shown.interval else "")
        + (f", null {shown.null}" if shown.null else "")
    )


def _import_api() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it declares its classes in pydantic's old style
        return require_package("wandb_workspaces.reports.v2", extra="wandb")


def refuse_other(tracker: str) -> None:
    """`tracker` is what a person asked for; the others have no reports."""
    if tracker != "wandb":
        raise UsageError(
            f"Only W&B has reports, not '{tracker}'.", hint="Write --to wandb, or leave it out for HTML."
        )
