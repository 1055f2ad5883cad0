"""One run: answer, live metrics, views, figures, tables, config, log, report."""

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from digsite.record.layout import RunDir
from digsite.record.shown import in_full
from digsite.report.doubts import doubts
from digsite.report.facts import gather, read_table
from digsite.report.page import render, told
from digsite.serve import places
from digsite.serve.asked import whole
from digsite.serve.journals import columns, downsampled
from digsite.serve.live import HEADERS, run_changes, start_of_tail, tail
from digsite.serve.site import json, run_of, site
from digsite.serve.views import views_of

PAPER = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
TEXT = {".csv", ".json", ".jsonl", ".yaml", ".log", ".txt"}
IMAGES = {".png": "image/png", ".svg": "image/svg+xml"}
ROWS = 50


def page(request: Request) -> Response:
    run = run_of(request)
    facts = gather(run)
    log_start = start_of_tail(run.log)
    log, log_end = tail(run.log, log_start)
    return site(request).page(
        "run.html",
        facts=facts,
        **told(facts),
        doubts=doubts(facts),
        views=views_of(run),
        log=log,
        log_cut=log_start > 0,
        log_end=log_end,
        here="runs",
    )


def api(request: Request) -> Response:
    """As `digsite show RUN --json`."""
    return json(in_full(run_of(request)))


def metrics(request: Request) -> Response:
    """The journal by columns, thinned to `points`, and the byte from which the live stream goes on."""
    run = run_of(request)
    points = whole(request.query_params.get("points", ""), most=100_000)
    size = run.journal.lstat().st_size if run.journal.is_file() else 0
    series = columns(run.journal)
    shown = {name: downsampled(x, y, points) if points else (x, y) for name, (x, y) in series.items()}
    return json({"offset": size, "series": {name: {"step": x, "value": y} for name, (x, y) in shown.items()}})


def events(request: Request) -> Response:
    run = run_of(request)
    start = request.headers.get("last-event-id") or request.query_params.get("from", "")
    journal, _, log = start.partition("-")
    offsets = (whole(journal, most=2**40), whole(log, most=2**40))
    return StreamingResponse(run_changes(request, run, *offsets), headers=HEADERS)


def table(request: Request) -> Response:
    """A window of one table, as a page that works without scripts."""
    run = run_of(request)
    name = request.path_params["name"]
    places.file(run.tables, f"{name}.csv")
    start = whole(request.query_params.get("start", ""))
    window = read_table(run.tables, name, start=start, limit=ROWS)
    return site(request).page("table.html", run=run, table=window, start=start, step=ROWS, here="runs")


def report(request: Request) -> Response:
    """The report as it would be mailed, drawn anew from what is there now."""
    return HTMLResponse(render([run_of(request)]), headers={"content-security-policy": PAPER})


def file(request: Request) -> Response:
    """A file as it is, in a type that no browser executes."""
    run: RunDir = run_of(request)
    path = places.file(run.path, request.path_params["path"])
    headers = {"content-security-policy": PAPER}
    if path.suffix in IMAGES:
        return FileResponse(path, media_type=IMAGES[path.suffix], headers=headers)
    if path.suffix in TEXT:
        return FileResponse(path, media_type="text/plain; charset=utf-8", headers=headers)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name, headers=headers)


RUN = "/runs/{study}/{id}"
routes = [
    Route(RUN, page),
    Route(f"{RUN}/report", report),
    Route(f"{RUN}/tables/{{name:path}}", table),
    Route(f"{RUN}/files/{{path:path}}", file),
    Route(f"/api{RUN}", api),
    Route(f"/api{RUN}/metrics", metrics),
    Route(f"/api{RUN}/events", events),
]
