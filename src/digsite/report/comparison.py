"""Several runs beside each other: what differs in their configs first, then what they claim."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from digsite.base.intervals import exact_share, seed_interval
from digsite.record.results import Claim
from digsite.report.claims import Row, claim_row
from digsite.report.facts import Facts
from digsite.report.numbers import show_setting
from digsite.report.pictures import Picture

SIDE_BY_SIDE = 8  # more runs than this become rows of a table instead of columns
SEEDS = ("seed", "seeds")
BOUNDED = {"share"}  # kinds of claims that lie between nothing and the whole


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed."""

    settings: dict[str, Any]
    members: tuple[Facts, ...]
    claims: dict[str, Claim]  # pooled over the members


@dataclass(frozen=True)
class Comparison:
    runs: tuple[Facts, ...]
    differing: dict[str, tuple[Any, ...]]  # config path -> value per run
    shared: dict[str, Any]
    claims: dict[str, tuple[Row | None, ...]]
    pictures: dict[str, tuple[Picture | None, ...]]
    groups: tuple[Group, ...]
    origins: dict[str, tuple[str, ...]]  # of where they come from, what differs: code, packages, machine

    @property
    def backed(self) -> dict[str, tuple[Row | None, ...]]:
        """Claims with null and interval in at least one run, headlines first."""
        return {name: shown for name, shown in self.claims.items() if name not in self.measured}

    @property
    def only_measured(self) -> dict[str, tuple[Row | None, ...]]:
        return {name: shown for name, shown in self.claims.items() if name in self.measured}

    @property
    def measured(self) -> frozenset[str]:
        """What is a measurement in every run that has it."""
        bare = {c.name for run in self.runs for c in run.claims if c.is_measurement}
        led = {name for run in self.runs for name in run.headline}
        return frozenset(
            bare - led - {c.name for run in self.runs for c in run.claims if not c.is_measurement}
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """What tells each run from the others in a legend: up to three settings, or its id where more differ."""
        varied = [path for path in self.differing if path not in SEEDS]
        paths = [*varied, *(path for path in self.differing if path in SEEDS)]
        studies = len(self.studies) > 1
        if not studies and not 0 < len(paths) <= 3:
            return tuple(run.id for run in self.runs)
        if studies:
            return tuple(run.name for run in self.runs)
        return tuple(
            ", ".join(
                f"{path.rpartition('.')[2]} {show_setting(run.config.get(path))[:24]}" for path in paths
            )
            for run in self.runs
        )

    @property
    def studies(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.study for run in self.runs))


def compare_facts(runs: Sequence[Facts]) -> Comparison:
    everywhere = list(dict.fromkeys(path for run in runs for path in run.config))
    columns = {path: tuple(run.config.get(path) for run in runs) for path in everywhere}
    differing = {path: values for path, values in columns.items() if _do_differ(values)}
    names = dict.fromkeys(claim.name for run in runs for claim in run.claims)
    by_run = [{claim.name: claim for claim in run.claims} for run in runs]
    drawn = [{picture.name: picture for picture in run.pictures} for run in runs]
    return Comparison(
        runs=tuple(runs),
        differing=differing,
        shared={path: values[0] for path, values in columns.items() if path not in differing},
        claims={name: tuple(claim_row(f[name]) if name in f else None for f in by_run) for name in names},
        pictures={
            name: tuple(d.get(name) for d in drawn) for name in dict.fromkeys(n for d in drawn for n in d)
        },
        groups=_group_runs(runs, [path for path in differing if path not in SEEDS]),
        origins=_differing_origins(runs),
    )


def _differing_origins(runs: Sequence[Facts]) -> dict[str, tuple[str, ...]]:
    """What of size, code, packages and machine is not the same in all runs."""
    origins = [_origin_of(run) for run in runs]
    names = dict.fromkeys(name for each in origins for name in each)
    columns = {name: tuple(each.get(name, "") for each in origins) for name in names}
    return {name: values for name, values in columns.items() if len(set(values)) > 1}


def _origin_of(run: Facts) -> dict[str, str]:
    known = run.provenance
    git, packages = known.get("git"), known.get("packages")
    origin = {"study": run.study, "size": run.size}
    if isinstance(git, dict):
        commit = str(git.get("commit", ""))[:12]
        origin["commit"] = f"{commit} with changes" if git.get("diff") else commit
    origin |= {key: str(known.get(key, "")) for key in ("device", "platform", "python", "threads")}
    if isinstance(packages, dict):
        origin |= {str(name): str(version) for name, version in packages.items()}
    return origin


def _do_differ(values: tuple[Any, ...]) -> bool:
    return any(value != values[0] or type(value) is not type(values[0]) for value in values[1:])


def _group_runs(runs: Sequence[Facts], varied: list[str]) -> tuple[Group, ...]:
    members: dict[str, list[Facts]] = {}
    for run in runs:
        key = repr([run.study, *(run.config.get(path) for path in varied)])
        members.setdefault(key, []).append(run)
    return tuple(
        Group({path: same[0].config.get(path) for path in varied}, tuple(same), _pool_all(same))
        for same in members.values()
    )


def _pool_all(runs: list[Facts]) -> dict[str, Claim]:
    by_name: dict[str, list[Claim]] = {}
    for run in runs:
        for claim in run.claims:
            by_name.setdefault(claim.name, []).append(claim)
    return {name: pool_claims(claims) for name, claims in by_name.items()}


def pool_claims(claims: Sequence[Claim]) -> Claim:
    """One claim over several runs, with the interval that its kind has; one run keeps its own.

    Shares of counted trials are added up, so that three runs of 40 of 40 give the interval of 120 of 120. Everything
    else is one value per run.
    """
    first = claims[0]
    if len(claims) == 1:
        return first
    values = [c.value for c in claims if c.value is not None]
    nulls = [c.null for c in claims if c.null is not None]
    null = statistics.fmean(nulls) if nulls else None
    same = replace(
        first, null=null, null_low=None, null_high=None, note="", p=None, rivals=(), points=(), n=None
    )
    if not values:
        return replace(same, value=None, low=None, high=None)
    whole = 100.0 if first.unit == "%" else 1.0
    if hits := _count_hits(claims, whole):
        count, n = hits
        low, high = exact_share(count, n)
        return replace(same, value=whole * count / n, low=whole * low, high=whole * high, n=n)
    least, most = (0.0, whole) if first.kind in BOUNDED else (-math.inf, math.inf)
    over = seed_interval(values, first.kind or "median", least=least, most=most)
    return replace(same, value=over.value, low=over.low, high=over.high, n=over.n, points=over.points)


def _count_hits(claims: Sequence[Claim], whole: float) -> tuple[int, int] | None:
    """Hits and trials of a share that was counted in every run; None where it was not."""
    count, n = 0.0, 0
    for claim in claims:
        if claim.kind not in BOUNDED or claim.value is None or not claim.n:
            return None
        hits = claim.value / whole * claim.n
        if abs(hits - round(hits)) > 1e-6:
            return None
        count, n = count + round(hits), n + claim.n
    return round(count), n
