"""Figures about many runs: how each claim moves with each setting, and the course of every measurement."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from digsite.record.journal import read_series
from digsite.report.comparison import Comparison, Group, pool_claims
from digsite.report.facts import Facts
from digsite.report.numbers import show_setting
from digsite.report.pictures import as_uri, theme_svg

CLAIMS, SETTINGS, MEASURED, GROUPS = 4, 3, 4, 8  # more of each makes a report that nobody reads
POINTS = 300


@dataclass(frozen=True)
class Drawn:
    name: str
    caption: str
    uri: str


def draw_aggregated(compared: Comparison) -> list[Drawn]:
    return [*_draw_claims(compared), *_draw_courses(compared)]


def _draw_claims(compared: Comparison) -> Iterator[Drawn]:
    """Means over all runs with the same value of one setting, whatever their other settings are."""
    for path in [p for p in compared.groups[0].settings if _is_numeric(compared, p)][:SETTINGS]:
        for name in [*compared.backed, *compared.measured][:CLAIMS]:
            by_value: dict[float, list[Any]] = {}
            for run in compared.runs:
                claimed = [claim for claim in run.claims if claim.name == name and claim.value is not None]
                by_value.setdefault(run.config[path], []).extend(claimed)
            pooled = {value: pool_claims(claims) for value, claims in sorted(by_value.items()) if claims}
            if len(pooled) > 1:
                yield _claim_figure(path, name, pooled)


def _is_numeric(compared: Comparison, path: str) -> bool:
    values = [run.config.get(path) for run in compared.runs]
    return (
        all(isinstance(v, int | float) and not isinstance(v, bool) for v in values) and len(set(values)) <= 50
    )


def _claim_figure(path: str, name: str, pooled: dict[float, Any]) -> Drawn:
    from digsite.figures import curves

    xs = list(pooled)
    lines = {name: (xs, [claim.value for claim in pooled.values()])}
    low, high = ([_value_or(getattr(c, side), c.value) for c in pooled.values()] for side in ("low", "high"))
    nulls = [claim.null for claim in pooled.values()]
    if None not in nulls:
        lines["null"] = (xs, nulls)
    figure = curves(
        lines,
        x=path,
        y=name,
        bands={name: (low, high)},
        nulls=["null"],
        log_x=min(xs) > 0 and max(xs) / min(xs) >= 30,
    )
    n = sum(claim.n or 1 for claim in pooled.values())
    return _as_drawn(
        figure,
        f"{name} by {path}",
        f"Over runs with the same {path}, with the interval of its kind; {n} values.",
    )


def _draw_courses(compared: Comparison) -> Iterator[Drawn]:
    """Mean over the seeds of each setting; the band goes from least to greatest."""
    from digsite.figures import curves

    groups = compared.groups[:GROUPS]
    read = {run.name: read_series(run.run.journal) for group in groups for run in group.members}
    names = dict.fromkeys(name for columns in read.values() for name in columns)
    for name in list(names)[:MEASURED]:
        lines, bands = {}, {}
        for group in groups:
            steps, low, mean, high = _one_course(group.members, read, name)
            if len(steps) > 1:
                label = _group_label(group)
                lines[label], bands[label] = (steps, mean), (low, high)
        if lines:
            yield _as_drawn(
                curves(lines, x="step", y=name, bands=bands),
                f"{name} over time",
                f"Mean over the runs of each setting, band from least to greatest; {len(lines)} settings.",
            )


def _one_course(members: Sequence[Facts], read: dict[str, Any], name: str) -> tuple[list[float], ...]:
    tables = [dict(zip(*read[run.name][name], strict=True)) for run in members if name in read[run.name]]
    common = sorted(set.intersection(*map(set, tables))) if tables else []
    common = common[:: max(1, len(common) // POINTS)]
    columns = [[table[step] for table in tables] for step in common]
    return (
        common,
        [min(c) for c in columns],
        [statistics.fmean(c) for c in columns],
        [max(c) for c in columns],
    )


def _group_label(group: Group) -> str:
    return (
        ", ".join(f"{path.rpartition('.')[2]}={show_setting(v)}" for path, v in group.settings.items())
        or "all runs"
    )


def _value_or(value: float | None, other: float) -> float:
    return other if value is None else value


def _as_drawn(figure: Any, name: str, caption: str) -> Drawn:
    from matplotlib import pyplot as plt

    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "digsite"})
    plt.close(figure)
    return Drawn(name, caption, as_uri(theme_svg(buffer.getvalue()), "image/svg+xml"))
