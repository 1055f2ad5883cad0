"""Search, filters and order of the list of runs."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from digsite.serve.index import Entry, Index
from digsite.serve.launches import Condition, parse_conditions

PER_PAGE = 50
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

    @classmethod
    def of(cls, params: QueryParams) -> "Query":
        sort = params.get("sort", "started")
        page = params.get("page", "1")
        return cls(
            *(params.get(name, "").strip()[:200] for name in ("q", "study", "state", "tag", "where")),
            sort=sort if sort in SORTS else "started",
            up=params.get("up") == "1",
            page=max(1, int(page)) if re.fullmatch(r"\d{1,6}", page) else 1,
        )

    def link(self, **changes: Any) -> str:
        """The address of this list with some things changed; defaults are left out."""
        wanted, plain = replace(self, **changes), Query()
        pairs = {
            name: int(value) if isinstance(value, bool) else value
            for name, value in vars(wanted).items()
            if value != getattr(plain, name)
        }
        return f"/?{urlencode(pairs)}" if pairs else "/"

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


def list_page(index: Index, query: Query) -> Listing:
    """One page of the runs that fit, with counts for the filters.

    A list that is filtered or ordered by what stands in the runs waits until all are read; the plain list does not.
    """
    conditions, problem = parse_conditions(query.where)
    by_name = not (query.state or query.tag or query.where or query.q or query.sort != "started" or query.up)
    entries = index.entries() if by_name else index.read_all()
    fitting = [e for e in entries if _fits_status(e, query) and _fits_launch(index, e, query.tag, conditions)]
    if (query.sort, query.up) != ("started", False):
        fitting = sorted(fitting, key=SORTS[query.sort], reverse=not query.up)
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
    )


def _fits_status(entry: Entry, query: Query) -> bool:
    status = entry.status
    if query.study and status.study != query.study:
        return False
    if query.state and status.shown_state != query.state:
        return False
    if not query.q:
        return True
    marks = entry.marks
    text = f"{entry.key} {status.message} {status.stage} {marks.note} {' '.join(marks.tags)}".lower()
    return all(word in text for word in query.q.lower().split())


def _fits_launch(index: Index, entry: Entry, tag: str, conditions: tuple[Condition, ...]) -> bool:
    if tag and tag not in entry.marks.tags and not index.leaves.has_tag(entry.launch, tag):
        return False
    return all(index.leaves.matches(entry.launch, condition) for condition in conditions)
