"""The list of runs, live; and what could be run: every study by room, and one with its settings and its command."""

from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from digsite.record.shown import row_of_run
from digsite.report.facts import results_or_none
from digsite.serve.index import Entry
from digsite.serve.live import HEADERS, list_changes
from digsite.serve.query import SORTS, Query, list_page
from digsite.serve.site import answer_json, site_of


@dataclass(frozen=True)
class Line:
    """A row of the page: an entry and the first sentence of its verdict."""

    entry: Entry
    verdict: str


def show_runs(request: Request) -> Response:
    here = site_of(request)
    found = list_page(here.index, Query.of(request.query_params))
    lines = [Line(entry, _verdict_of(entry)) for entry in found.shown]
    template = "_run_rows.html" if request.query_params.get("part") == "rows" else "runs.html"
    return here.page(
        template, listing=found, lines=lines, sorts=list(SORTS), version=here.index.version, here="runs"
    )


def _verdict_of(entry: Entry) -> str:
    if entry.status.state != "finished":
        return entry.status.message
    results = results_or_none(entry.run)
    return results.verdict if results else ""


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
    for study in _known_studies(request):
        rooms.setdefault(study["room"], []).append(study)
    return site_of(request).page("studies.html", rooms=rooms, here="studies")


def show_study(request: Request) -> Response:
    """One study: what is written about it, and every setting with type, value, range and text."""
    name = request.path_params["name"]
    for study in _known_studies(request):
        if study["study"] == name:
            return site_of(request).page("study.html", study=study, here="studies")
    raise HTTPException(404, "There is no such study.")


def _known_studies(request: Request) -> list[dict]:
    known = site_of(request).list_studies
    if known is None:
        raise HTTPException(404, "This server was not told of the studies.")
    return known()


routes = [
    Route("/", show_runs),
    Route("/api/runs", send_runs),
    Route("/api/events", stream_runs),
    Route("/studies", show_studies),
    Route("/studies/{name}", show_study),
]
