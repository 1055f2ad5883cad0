"""One run: answer, live metrics, views, figures, tables, config, log, report."""

import io
import os
import re
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from digsite.record.layout import RunDir
from digsite.record.marks import read_marks
from digsite.record.shown import in_full, list_files
from digsite.report.doubts import list_doubts
from digsite.report.facts import Facts, gather_facts, read_table
from digsite.report.numbers import show_setting
from digsite.report.page import LOOK, SCRIPT_HASH, render_report, template_values
from digsite.report.pictures import theme_svg
from digsite.report.plots import thin_series
from digsite.serve import places
from digsite.serve.index import Index
from digsite.serve.live import HEADERS, journal_columns, read_clock, read_tail, run_changes, start_of_tail
from digsite.serve.places import read_whole
from digsite.serve.site import HERE, answer_json, run_of, site_of
from digsite.serve.views import views_of

PAPER = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
TEXT = {".csv", ".json", ".jsonl", ".yaml", ".log", ".txt"}
IMAGES = {".png": "image/png", ".svg": "image/svg+xml"}
ROWS = 50
KIN = 50  # runs that a page names as parents or children
SVG = 5_000_000  # bytes of a figure that is given the colors of the page
BLOCK = 1 << 20
PACKED = {".png", ".safetensors", ".npz", ".zip", ".gz"}  # compressed already, or numbers without a pattern
_WORD = re.compile(r"[\w.+-]+")


def show_run(request: Request) -> Response:
    run = run_of(request)
    facts = gather_facts(run)
    log_start = start_of_tail(run.log)
    log, log_end = read_tail(run.log, log_start)
    parents, children = find_kin(site_of(request).index, facts)
    return site_of(request).page(
        "run.html",
        facts=facts,
        **template_values(facts),
        doubts=list_doubts(facts),
        views=views_of(run),
        marks=read_marks(run),
        measured=run.journal.is_file() and run.journal.stat().st_size > 0,
        again=command_again(facts),
        parents=parents,
        children=children,
        siblings=_siblings_of(site_of(request).index, run),
        log=log,
        log_cut=log_start > 0,
        log_end=log_end,
        here="runs",
    )


def command_again(facts: Facts, changes: Mapping[str, str] | None = None) -> str:
    """The command that would start the run again, with `changes` by dotted path: as it was typed, where that was `digsite run`."""
    typed = facts.provenance.get("command")
    typed_words = list(map(str, typed)) if isinstance(typed, list) else []
    if len(typed_words) > 2 and typed_words[1] == "run" and typed_words[2] == facts.study:
        words = ["digsite", *typed_words[1:]]
    else:
        size = [] if facts.size == "full" else [f"--{facts.size}"]
        given = [f"{path}={show_setting(facts.config.get(path))}" for path in facts.given]
        words = ["digsite", "run", facts.study, *size, *given]
    return shlex.join([*words, *(f"{path}={text}" for path, text in (changes or {}).items())])


def show_again(request: Request) -> Response:
    """The settings of a run as a form, and the command that starts it with those that were changed."""
    facts = gather_facts(run_of(request))
    asked = {
        path: " ".join(text.split())[:400]
        for path in facts.config
        if (text := request.query_params.get(f"set:{path}")) is not None
    }
    changes = {path: text for path, text in asked.items() if text != show_setting(facts.config[path])}
    return site_of(request).page(
        "again.html",
        facts=facts,
        asked=asked,
        changes=changes,
        command=command_again(facts, changes),
        here="runs",
    )


def _siblings_of(index: Index, run: RunDir) -> list[str]:
    """Newest runs of the same study, to be laid behind the curves of this one."""
    study = run.path.parent.name
    others = (e.key for e in index.entries() if e.run.path.parent.name == study and e.run.id != run.id)
    return list(islice(others, KIN))


def find_kin(index: Index, facts: Facts) -> tuple[list[str], list[str]]:
    """Runs whose files this one was made from, and runs that were made from this one: settings that name an id."""
    entries = index.entries()
    own = set(_WORD.findall(" ".join(map(str, facts.config.values()))))
    own.add(str(facts.provenance.get("parent", "")))
    parents = [e.key for e in entries if e.run.id in own and e.run.id != facts.id]
    naming = index.leaves.numbers_naming(facts.id)
    users = [e for e in entries if not naming.isdisjoint(e.launch)] if naming else []
    children = [e.key for e in users if e.run.id != facts.id]
    return parents[:KIN], children[:KIN]


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
    steps, times = thin_series(*read_clock(run.clock), max(points, 2) if points else 10**6)
    return answer_json(
        {
            "offset": size,
            "series": {name: {"step": x, "value": y} for name, (x, y) in shown.items()},
            "clock": {"step": steps, "time": times},
        }
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
    """The report as it would be mailed, drawn anew from what is there now; its own script alone may run."""
    policy = f"{PAPER} allow-scripts; script-src '{SCRIPT_HASH}'"
    return HTMLResponse(render_report([run_of(request)]), headers={"content-security-policy": policy})


def send_zip(request: Request) -> Response:
    """All files of a run as one archive, written while it is sent: a run may be larger than memory."""
    run = run_of(request)
    headers = {"content-disposition": f'attachment; filename="{run.id}.zip"'}
    return StreamingResponse(_zip_pieces(run), media_type="application/zip", headers=headers)


def _zip_pieces(run: RunDir) -> Iterator[bytes]:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for path in sorted(list_files(run.path)):
            name = f"{run.id}/{path.relative_to(run.path).as_posix()}"
            try:
                file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")
            except OSError:  # it vanished, or became a link, since it was listed
                continue
            about = zipfile.ZipInfo(name)
            about.compress_type = zipfile.ZIP_STORED if path.suffix in PACKED else zipfile.ZIP_DEFLATED
            with file, archive.open(about, "w", force_zip64=True) as target:
                while block := file.read(BLOCK):
                    target.write(block)
                    yield pipe.take_all()
    yield pipe.take_all()


class _Pipe(io.RawIOBase):
    """What an archive was written to so far and nobody has taken yet."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.pieces.append(bytes(data))
        return len(data)

    def take_all(self) -> bytes:
        taken, self.pieces = b"".join(self.pieces), []
        return taken


def send_file(request: Request) -> Response:
    """A file as it is, in a type that no browser executes."""
    run: RunDir = run_of(request)
    path = places.find_file(run.path, request.path_params["path"])
    headers = {"content-security-policy": PAPER}
    if path.suffix == ".svg" and "page" in request.query_params and path.stat().st_size <= SVG:
        return Response(theme_svg(path.read_bytes()), media_type=IMAGES[".svg"], headers=headers)
    if path.suffix in IMAGES:
        return FileResponse(path, media_type=IMAGES[path.suffix], headers=headers)
    if path.suffix in TEXT:
        return FileResponse(path, media_type="text/plain; charset=utf-8", headers=headers)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name, headers=headers)


RUN = "/runs/{study}/{id}"
routes = [
    Route(RUN, show_run),
    Route(f"{RUN}/report", report_run),
    Route(f"{RUN}/again", show_again),
    Route(f"{RUN}/files.zip", send_zip),
    Route(f"{RUN}/tables/{{name:path}}", show_table),
    Route(f"{RUN}/files/{{path:path}}", send_file),
    Route(f"/api{RUN}", send_run),
    Route(f"/api{RUN}/metrics", send_metrics),
    Route(f"/api{RUN}/events", stream_run),
]


ASSETS = HERE / "assets"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def send_asset(request: Request) -> Response:
    name = request.path_params.get("path", "icon.svg")
    path = LOOK if name == "look.css" else places.find_file(ASSETS, name)
    return FileResponse(
        path, media_type=KINDS.get(path.suffix, "text/plain"), headers={"cache-control": "max-age=60"}
    )


# A report carries no icon, and browsers then ask for one at this place.
routes += [Route("/assets/{path:path}", send_asset), Route("/favicon.ico", send_asset)]
