"""Search, filters, order, groups and columns of the list of runs: all of it stands in the address, which so is a saved view."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from digsite.report.numbers import show_number
from digsite.serve.index import Entry, Index
from digsite.serve.launches import Condition, parse_conditions

PER_PAGE = 50
COLUMNS, OFFERED = 12, 40  # that are shown beside the fixed ones, and that a menu offers of each kind
CLAIM = "claim:"  # how a column of claims is named
SORTS: dict[str, Callable[[Entry], Any]] = {
    "started": lambda e: e.status.started or e.status.created,
    "study": lambda e: (e.status.study, e.run.id),
    "state": lambda e: e.status.shown_state,
    "took": lambda e: (e.status.ended or e.status.heartbeat or 0) - (e.status.started or 0),
    "run": lambda e: e.run.id,
}


@dataclass(frozen=True)
class Query:
    """What the address asks for; anything senseless in it falls back to the default."""

    q: str = ""
    study: str = ""
    state: str = ""
    tag: str = ""
    where: str = ""
    sort: str = "started"
    up: bool = False
    page: int = 1
    group: str = ""  # a column, `study`, `state` or `tag`
    color: str = ""
    col: tuple[str, ...] = ()  # dotted paths of settings, and claims as `claim:NAME`

    @classmethod
    def of(cls, params: QueryParams) -> "Query":
        sort = params.get("sort", "started")
        page = params.get("page", "1")
        columns = tuple(dict.fromkeys(name.strip()[:120] for name in params.getlist("col") if name.strip()))
        return cls(
            *(params.get(name, "").strip()[:200] for name in ("q", "study", "state", "tag", "where")),
            sort=sort if sort in SORTS or sort in columns else "started",
            up=params.get("up") == "1",
            page=max(1, int(page)) if re.fullmatch(r"\d{1,6}", page) else 1,
            group=params.get("group", "").strip()[:120],
            color=params.get("color", "").strip()[:120],
            col=columns[:COLUMNS],
        )

    def link(self, **changes: Any) -> str:
        """The address of this list with some things changed; defaults are left out."""
        wanted, plain = replace(self, **changes), Query()
        pairs = {
            name: int(value) if isinstance(value, bool) else value
            for name, value in vars(wanted).items()
            if value != getattr(plain, name)
        }
        return f"/?{urlencode(pairs, doseq=True)}" if pairs else "/"

    @property
    def filtered(self) -> bool:
        return any((self.q, self.study, self.state, self.tag, self.where))


@dataclass(frozen=True)
class Listing:
    query: Query
    shown: list[Entry]
    found: int
    total: int
    states: dict[str, int]
    studies: dict[str, int]
    problem: str = ""
    pages: int = field(default=1)
    unread: int = 0  # runs of which nothing but the name is known yet
    groups: dict[str, int] = field(default_factory=dict)  # how many runs each value of the group has


def list_page(index: Index, query: Query) -> Listing:
    """One page of the runs that fit, with counts for the filters.

    A list that is filtered or ordered by what stands in the runs waits until all are read; the plain list does not.
    """
    conditions, problem = parse_conditions(query.where)
    asks = (query.state, query.tag, query.where, query.q, query.group, query.up, query.sort != "started")
    by_name = not any(asks)
    entries = index.entries() if by_name else index.read_all()
    words = query.q.lower().split()
    fitting = [
        e for e in entries if _fits_status(e, query, words) and _fits_launch(index, e, query.tag, conditions)
    ]
    if (query.sort, query.up) != ("started", False):
        fitting = _sort_entries(index, fitting, query)
    groups: dict[str, int] = {}
    if query.group:
        group_of = {entry.key: say_value(value_of(index, entry, query.group)) for entry in fitting}
        fitting.sort(key=lambda entry: natural_key(group_of[entry.key]))
        groups = dict(Counter(group_of[entry.key] for entry in fitting))
    start = (query.page - 1) * PER_PAGE
    shown = fitting[start : start + PER_PAGE]
    index.read_entries(shown)
    return Listing(
        query=query,
        shown=[entry for entry in shown if entry.is_read],
        found=len(fitting),
        total=len(entries),
        states=dict(Counter(e.status.shown_state for e in entries if e.is_read)),
        unread=index.unread,
        studies=dict(sorted(Counter(e.status.study for e in entries).items())),
        problem=problem,
        pages=max(1, -(-len(fitting) // PER_PAGE)),
        groups=groups,
    )


# Columns: a run's value of a setting or a claim.


def value_of(index: Index, entry: Entry, name: str) -> str | float | None:
    """A run's value of a column; None where it has none."""
    if name == "study":
        return entry.status.study
    if name == "state":
        return entry.status.shown_state
    if name == "tag":
        return ", ".join(entry.marks.tags) or None
    if name.startswith(CLAIM):
        values = index.claims.values_of(entry.key, entry.run.results, entry.modified)
        return values.get(name.removeprefix(CLAIM))
    value = index.leaves.values_at(entry.launch, name)
    return ", ".join(map(str, value))[:80] or None


def offer_columns(index: Index, shown: list[Entry], chosen: tuple[str, ...]) -> list[str]:
    """What a menu of columns offers: settings that are not the same in all shown runs, and their claims."""
    settings: dict[str, set[str]] = {}
    for entry in shown:
        for path, value in index.leaves.pairs_of(entry.launch):
            if path.startswith("config."):
                settings.setdefault(path.removeprefix("config."), set()).add(value)
    varied = [path for path, values in settings.items() if len(values) > 1 and path not in chosen]
    claims = dict.fromkeys(
        f"{CLAIM}{name}"
        for entry in shown
        for name in index.claims.values_of(entry.key, entry.run.results, entry.modified)
    )
    return [*chosen, *varied[:OFFERED], *(name for name in claims if name not in chosen)][: 2 * OFFERED]


def say_value(value: str | float | None) -> str:
    return "" if value is None else value if isinstance(value, str) else show_number(value)


def natural_key(value: str | float | None) -> tuple[int, float, str]:
    """Numbers by size, then words, then nothing."""
    if value is None or value == "":
        return 2, 0.0, ""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, str(value)


def _sort_entries(index: Index, entries: list[Entry], query: Query) -> list[Entry]:
    """By a column that every run has, or by a chosen one; runs without it come last in both directions."""
    if query.sort in SORTS:
        return sorted(entries, key=SORTS[query.sort], reverse=not query.up)
    keys = {entry.key: natural_key(value_of(index, entry, query.sort)) for entry in entries}
    having = [entry for entry in entries if keys[entry.key][0] < 2]
    having.sort(key=lambda entry: keys[entry.key], reverse=not query.up)
    return [*having, *(entry for entry in entries if keys[entry.key][0] == 2)]


def _fits_status(entry: Entry, query: Query, words: list[str]) -> bool:
    status = entry.status
    if query.study and status.study != query.study:
        return False
    if query.state and status.shown_state != query.state:
        return False
    if not words:
        return True
    marks = entry.marks
    text = f"{entry.key} {status.message} {status.stage} {marks.note} {' '.join(marks.tags)}".lower()
    return all(word in text for word in words)


def _fits_launch(index: Index, entry: Entry, tag: str, conditions: tuple[Condition, ...]) -> bool:
    if tag and tag not in entry.marks.tags and not index.leaves.has_tag(entry.launch, tag):
        return False
    return all(index.leaves.matches(entry.launch, condition) for condition in conditions)
