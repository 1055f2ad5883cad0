"""Up to eight runs beside each other: configs first, then claims, curves with bands over seeds, and figures."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from digsite.record.layout import RunDir
from digsite.report.comparison import SIDE_BY_SIDE, compare
from digsite.report.facts import gather
from digsite.report.page import render
from digsite.serve import places
from digsite.serve.journals import columns, downsampled
from digsite.serve.pages.run import PAPER
from digsite.serve.site import json, site

POINTS = 600


def page(request: Request) -> Response:
    runs = _runs(request)
    here = site(request)
    if not runs:
        return here.page(
            "error.html", 400, code="compare", message="Tick the runs to compare in the list of runs."
        )
    return here.page(
        "compare.html",
        compared=compare([gather(run) for run in runs]),
        here="runs",
        query=str(request.query_params),
    )


def report(request: Request) -> Response:
    runs = _runs(request)
    if not runs:
        raise HTTPException(400)
    return HTMLResponse(render(runs), headers={"content-security-policy": PAPER})


def curves(request: Request) -> Response:
    """Every metric of every run, thinned; runs that differ in nothing but the seed have the same group."""
    runs = _runs(request)
    compared = compare([gather(run) for run in runs])
    group = {run.name: i for i, same in enumerate(compared.groups) for run in same.members}
    found: dict[str, list] = {}
    for index, run in enumerate(compared.runs):
        for name, (x, y) in columns(run.run.journal).items():
            steps, values = downsampled(x, y, POINTS)
            line = {"run": run.name, "index": index, "group": group[run.name], "x": steps, "y": values}
            found.setdefault(name, []).append(line)
    return json({"runs": [run.name for run in compared.runs], "metrics": found})


def _runs(request: Request) -> list[RunDir]:
    names = list(dict.fromkeys(request.query_params.getlist("run")))
    if len(names) > SIDE_BY_SIDE:
        raise HTTPException(400, f"At most {SIDE_BY_SIDE} runs can be compared; these are {len(names)}.")
    parts = [name.partition("/") for name in names]
    return [places.run(site(request).root, study, run_id) for study, _, run_id in parts]


routes = [Route("/compare", page), Route("/compare/report", report), Route("/api/compare", curves)]
