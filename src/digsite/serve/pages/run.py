"""One run: answer, live metrics, views, figures, tables, config, log, report."""

import shlex

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from digsite.record.layout import RunDir
from digsite.record.marks import read_marks
from digsite.record.provenance import read_provenance
from digsite.record.shown import in_full
from digsite.report.doubts import list_doubts
from digsite.report.facts import gather_facts, read_table
from digsite.report.page import LOOK, render_report, template_values
from digsite.serve import places
from digsite.serve.live import HEADERS, journal_columns, read_tail, run_changes, start_of_tail, thin_series
from digsite.serve.places import read_whole
from digsite.serve.site import HERE, answer_json, run_of, site_of
from digsite.serve.views import views_of

PAPER = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
TEXT = {".csv", ".json", ".jsonl", ".yaml", ".log", ".txt"}
IMAGES = {".png": "image/png", ".svg": "image/svg+xml"}
ROWS = 50


def show_run(request: Request) -> Response:
    run = run_of(request)
    facts = gather_facts(run)
    log_start = start_of_tail(run.log)
    log, log_end = read_tail(run.log, log_start)
    return site_of(request).page(
        "run.html",
        facts=facts,
        **template_values(facts),
        doubts=list_doubts(facts),
        views=views_of(run),
        marks=read_marks(run),
        measured=run.journal.is_file() and run.journal.stat().st_size > 0,
        again=_command_again(run),
        log=log,
        log_cut=log_start > 0,
        log_end=log_end,
        here="runs",
    )


def _command_again(run: RunDir) -> str:
    """The command that would start the run again: as it was typed where that was `digsite run`, else the study's name."""
    known = read_provenance(run.provenance)
    typed = known.get("command") if isinstance(known, dict) else None
    if isinstance(typed, list) and len(typed) > 2 and typed[1] == "run":
        return shlex.join(["digsite", *map(str, typed[1:])])
    return f"digsite run {shlex.quote(run.path.parent.name)}"


def send_run(request: Request) -> Response:
    """As `digsite show RUN --json`."""
    return answer_json(in_full(run_of(request)))


def send_metrics(request: Request) -> Response:
    """The journal by columns, thinned to `points`, and the byte from which the live stream goes on."""
    run = run_of(request)
    points = read_whole(request.query_params.get("points", ""), most=100_000)
    size = run.journal.lstat().st_size if run.journal.is_file() else 0
    series = journal_columns(run.journal)
    shown = {name: thin_series(x, y, points) if points else (x, y) for name, (x, y) in series.items()}
    return answer_json(
        {"offset": size, "series": {name: {"step": x, "value": y} for name, (x, y) in shown.items()}}
    )


def stream_run(request: Request) -> Response:
    run = run_of(request)
    start = request.headers.get("last-event-id") or request.query_params.get("from", "")
    journal, _, log = start.partition("-")
    offsets = (read_whole(journal, most=2**40), read_whole(log, most=2**40))
    return StreamingResponse(run_changes(request, run, *offsets), headers=HEADERS)


def show_table(request: Request) -> Response:
    """A window of one table, as a page that works without scripts."""
    run = run_of(request)
    name = request.path_params["name"]
    places.find_file(run.tables, f"{name}.csv")
    start = read_whole(request.query_params.get("start", ""))
    window = read_table(run.tables, name, start=start, limit=ROWS)
    return site_of(request).page("table.html", run=run, table=window, start=start, step=ROWS, here="runs")


def report_run(request: Request) -> Response:
    """The report as it would be mailed, drawn anew from what is there now."""
    return HTMLResponse(render_report([run_of(request)]), headers={"content-security-policy": PAPER})


def send_file(request: Request) -> Response:
    """A file as it is, in a type that no browser executes."""
    run: RunDir = run_of(request)
    path = places.find_file(run.path, request.path_params["path"])
    headers = {"content-security-policy": PAPER}
    if path.suffix in IMAGES:
        return FileResponse(path, media_type=IMAGES[path.suffix], headers=headers)
    if path.suffix in TEXT:
        return FileResponse(path, media_type="text/plain; charset=utf-8", headers=headers)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name, headers=headers)


RUN = "/runs/{study}/{id}"
routes = [
    Route(RUN, show_run),
    Route(f"{RUN}/report", report_run),
    Route(f"{RUN}/tables/{{name:path}}", show_table),
    Route(f"{RUN}/files/{{path:path}}", send_file),
    Route(f"/api{RUN}", send_run),
    Route(f"/api{RUN}/metrics", send_metrics),
    Route(f"/api{RUN}/events", stream_run),
]


ASSETS = HERE / "assets"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def send_asset(request: Request) -> Response:
    name = request.path_params["path"]
    path = LOOK if name == "look.css" else places.find_file(ASSETS, name)
    return FileResponse(
        path, media_type=KINDS.get(path.suffix, "text/plain"), headers={"cache-control": "max-age=60"}
    )


routes += [Route("/assets/{path:path}", send_asset)]
