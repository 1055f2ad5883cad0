"""The list of runs, live."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from digsite.record.shown import row_of_run
from digsite.report.facts import results_of
from digsite.serve.index import Entry
from digsite.serve.live import HEADERS, list_changes
from digsite.serve.query import SORTS, Query, listing
from digsite.serve.site import json, site


@dataclass(frozen=True)
class Line:
    """A row of the page: an entry and the first sentence of its verdict."""

    entry: Entry
    verdict: str


def page(request: Request) -> Response:
    here = site(request)
    found = listing(here.index.entries(), Query.of(request.query_params))
    lines = [Line(entry, _verdict(entry)) for entry in found.shown]
    template = "_run_rows.html" if request.query_params.get("part") == "rows" else "runs.html"
    return here.page(
        template, listing=found, lines=lines, sorts=list(SORTS), version=here.index.version, here="runs"
    )


def _verdict(entry: Entry) -> str:
    if entry.status.state != "finished":
        return entry.status.message
    results = results_of(entry.run)
    return results.verdict if results else ""


def api(request: Request) -> Response:
    """As `digsite ls --json -n 0`, with the same filters as the page."""
    entries = site(request).index.entries()
    query = Query.of(request.query_params)
    wanted = listing(entries, query).shown if request.query_params else entries
    return json([row_of_run(entry.run, entry.status) for entry in wanted])


def events(request: Request) -> Response:
    return StreamingResponse(list_changes(request, site(request).index), headers=HEADERS)


routes = [Route("/", page), Route("/api/runs", api), Route("/api/events", events)]
