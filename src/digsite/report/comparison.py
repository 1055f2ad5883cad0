"""Several runs beside each other: what differs in their configs first, then what they claim."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from digsite.base.intervals import student
from digsite.record.results import Claim
from digsite.report.claims import Row, row
from digsite.report.facts import Facts
from digsite.report.pictures import Picture

SIDE_BY_SIDE = 8  # more runs than this become rows of a table instead of columns
SEEDS = ("seed", "seeds")


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed."""

    settings: dict[str, Any]
    members: tuple[Facts, ...]
    claims: dict[str, Claim]  # means over the members, with 95 % intervals when there are two or more


@dataclass(frozen=True)
class Comparison:
    runs: tuple[Facts, ...]
    differing: dict[str, tuple[Any, ...]]  # config path -> value per run
    shared: dict[str, Any]
    claims: dict[str, tuple[Row | None, ...]]
    pictures: dict[str, tuple[Picture | None, ...]]
    groups: tuple[Group, ...]

    @property
    def studies(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.study for run in self.runs))


def compare(runs: Sequence[Facts]) -> Comparison:
    everywhere = list(dict.fromkeys(path for run in runs for path in run.config))
    columns = {path: tuple(run.config.get(path) for run in runs) for path in everywhere}
    differing = {path: values for path, values in columns.items() if _differ(values)}
    names = dict.fromkeys(claim.name for run in runs for claim in run.claims)
    found = [{claim.name: claim for claim in run.claims} for run in runs]
    drawn = [{picture.name: picture for picture in run.pictures} for run in runs]
    return Comparison(
        runs=tuple(runs),
        differing=differing,
        shared={path: values[0] for path, values in columns.items() if path not in differing},
        claims={name: tuple(row(f[name]) if name in f else None for f in found) for name in names},
        pictures={
            name: tuple(d.get(name) for d in drawn) for name in dict.fromkeys(n for d in drawn for n in d)
        },
        groups=_groups(runs, [path for path in differing if path not in SEEDS]),
    )


def _differ(values: tuple[Any, ...]) -> bool:
    return any(value != values[0] or type(value) is not type(values[0]) for value in values[1:])


def _groups(runs: Sequence[Facts], varied: list[str]) -> tuple[Group, ...]:
    members: dict[str, list[Facts]] = {}
    for run in runs:
        key = repr([run.study, *(run.config.get(path) for path in varied)])
        members.setdefault(key, []).append(run)
    return tuple(
        Group({path: same[0].config.get(path) for path in varied}, tuple(same), _pooled(same))
        for same in members.values()
    )


def _pooled(runs: list[Facts]) -> dict[str, Claim]:
    by_name: dict[str, list[Claim]] = {}
    for run in runs:
        for claim in run.claims:
            by_name.setdefault(claim.name, []).append(claim)
    return {name: pool(claims) for name, claims in by_name.items()}


def pool(claims: Sequence[Claim]) -> Claim:
    """The mean over runs with Student's interval; one run keeps its own interval."""
    if len(claims) == 1:
        return claims[0]
    values = [c.value for c in claims if c.value is not None]
    nulls = [c.null for c in claims if c.null is not None]
    null = statistics.fmean(nulls) if nulls else None
    if not values:
        return Claim(claims[0].name, None, null=null, unit=claims[0].unit)
    mean, low, high = student(values)
    return Claim(claims[0].name, mean, low, high, len(values), null, claims[0].unit)
