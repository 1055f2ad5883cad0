"""The list of runs, live; and what could be run: every study by room, and one with its settings and its command."""

from dataclasses import dataclass

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from digsite.record.results import Results
from digsite.record.shown import row_of_run
from digsite.report.facts import results_or_none
from digsite.report.numbers import claim_texts
from digsite.serve.index import Entry, Index
from digsite.serve.live import HEADERS, list_changes
from digsite.serve.query import (
    CLAIM,
    Listing,
    Query,
    list_page,
    natural_key,
    offer_columns,
    say_value,
    value_of,
)
from digsite.serve.site import answer_json, site_of


@dataclass(frozen=True)
class Line:
    """A row of the page: an entry, the first sentence of its verdict, its chosen columns, its group and color."""

    entry: Entry
    verdict: str
    cells: tuple[tuple[str, str], ...]  # text and interval
    group: str
    color: int | None


def show_runs(request: Request) -> Response:
    here = site_of(request)
    listing = list_page(here.index, Query.of(request.query_params))
    colors = _color_values(here.index, listing)
    lines = [_make_line(here.index, entry, listing.query, colors) for entry in listing.shown]
    is_part = request.query_params.get("part") == "rows"
    return here.page(
        "_run_rows.html" if is_part else "runs.html",
        listing=listing,
        lines=lines,
        colors=colors,
        offered=[] if is_part else offer_columns(here.index, listing.shown, listing.query.col),
        version=here.index.version,
        here="runs",
    )


STATE_COLORS = {
    "running": 0,
    "finished": 2,
    "failed": 1,
    "killed": 1,
    "interrupted": 4,
    "planned": 6,
}  # as in its badge


def _color_values(index: Index, listing: Listing) -> dict[str, int]:
    """The values that colors stand for, in the order of the legend, each with its color; after the eighth all have one."""
    name = listing.query.color
    values = {say_value(value_of(index, entry, name)) for entry in listing.shown} if name else set()
    ordered = sorted(values - {""}, key=natural_key)
    if name == "state":
        return {value: STATE_COLORS.get(value, 7) for value in ordered}
    return {value: min(i, 7) for i, value in enumerate(ordered)}


def _make_line(index: Index, entry: Entry, query: Query, colors: dict[str, int]) -> Line:
    results = results_or_none(entry.run) if entry.status.state == "finished" else None
    verdict = entry.status.message
    if entry.status.state == "finished":
        verdict = (
            results.verdict
            if results
            else ""
            if not entry.run.results.exists()
            else "Its results cannot be read."
        )
    color = say_value(value_of(index, entry, query.color)) if query.color else ""
    return Line(
        entry,
        verdict,
        tuple(_say_cell(index, entry, results, name) for name in query.col),
        say_value(value_of(index, entry, query.group)) if query.group else "",
        colors.get(color),
    )


def _say_cell(index: Index, entry: Entry, results: Results | None, name: str) -> tuple[str, str]:
    """A claim with its interval, in as many digits as that supports; a setting as it was typed."""
    if not name.startswith(CLAIM):
        return say_value(value_of(index, entry, name)), ""
    wanted = name.removeprefix(CLAIM)
    for claim in results.claims if results else ():
        if claim.name == wanted:
            return claim_texts(claim)[:2]
    return "", ""


def send_runs(request: Request) -> Response:
    """As `digsite ls --json -n 0`, with the same filters as the page."""
    index, query = site_of(request).index, Query.of(request.query_params)
    wanted = list_page(index, query).shown if request.query_params else index.read_all()
    return answer_json([row_of_run(entry.run, entry.status) for entry in wanted])


def stream_runs(request: Request) -> Response:
    return StreamingResponse(list_changes(request, site_of(request).index), headers=HEADERS)


def show_studies(request: Request) -> Response:
    """The studies by room, each with its question and its command."""
    rooms: dict[str, list[dict]] = {}
    for study in _known_studies(request, ""):
        rooms.setdefault(study["room"], []).append(study)
    return site_of(request).page("studies.html", rooms=rooms, here="studies")


def show_study(request: Request) -> Response:
    """One study: what is written about it, and every setting with type, value, range and text."""
    for study in _known_studies(request, request.path_params["name"]):
        from markdown_it import MarkdownIt

        text = MarkdownIt("commonmark", {"html": False}).enable("table").render(study["readme"])
        text = Markup(
            text.replace("<th></th>", "<td></td>")
        )  # a head without words is none for whoever listens
        return site_of(request).page("study.html", study=study, written=text, here="studies")
    raise HTTPException(404, "There is no such study.")


def _known_studies(request: Request, name: str) -> list[dict]:
    known = site_of(request).list_studies
    if known is None:
        raise HTTPException(404, "This server was not told of the studies.")
    return known(name)


routes = [
    Route("/", show_runs),
    Route("/api/runs", send_runs),
    Route("/api/events", stream_runs),
    Route("/studies", show_studies),
    Route("/studies/{name}", show_study),
]
