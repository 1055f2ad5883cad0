"""Several runs beside each other: what differs in their configs first, then what they claim."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from digsite.report.claims import Row, row
from digsite.report.facts import Facts
from digsite.report.pictures import Picture
from digsite.runs.results import Claim

SIDE_BY_SIDE = 8  # more runs than this become rows of a table instead of columns
SEEDS = ("seed", "seeds")

# 97.5 % points of Student's t for 1 to 30 degrees of freedom: SciPy would cost the server 50 MB for this.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
      2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
      2.045, 2.042)  # fmt: skip


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
        pictures={name: tuple(d.get(name) for d in drawn) for name in dict.fromkeys(n for d in drawn for n in d)},
        groups=_groups(runs, [path for path in differing if path not in SEEDS]),
    )  # fmt: skip


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
    mean, low, high = statistics.fmean(values), None, None
    if len(values) > 1:
        half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
        low, high = mean - half, mean + half
    return Claim(claims[0].name, mean, low, high, len(values), null, claims[0].unit)


def t_quantile(degrees: int) -> float:
    """Beyond the table three terms of the Cornish-Fisher expansion are exact to four digits."""
    if degrees <= len(_T):
        return _T[degrees - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
