"""Zoos: collections of trained networks that runs have made; every member opens to its weights and spectra."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from digsite.report.facts import read_table
from digsite.serve.asked import whole
from digsite.serve.site import json, site
from digsite.serve.zoos import find_zoo, zoos_of

ROWS = 50


def page(request: Request) -> Response:
    here = site(request)
    return here.page("zoos.html", zoos=zoos_of(here), here="zoo")


def one(request: Request) -> Response:
    here, zoo = site(request), find_zoo(request)
    first = whole(request.query_params.get("start", ""))
    table = read_table(zoo.folder, "members", start=first, limit=ROWS)
    return here.page("zoo.html", zoo=zoo, table=table, start=first, step=ROWS, here="zoo")


def api(request: Request) -> Response:
    """The labels by columns, for the map."""
    zoo = find_zoo(request)
    table = read_table(zoo.folder, "members", limit=5000)
    return json(
        {"columns": table.columns, "rows": table.rows, "total": table.total, "architectures": zoo.describe()}
    )


def member(request: Request) -> Response:
    here, zoo = site(request), find_zoo(request)
    number = request.path_params["number"]
    found = zoo.member(number)
    return here.page(
        "member.html",
        zoo=zoo,
        number=number,
        found=found,
        labels=zoo.labels(number),
        predictions=zoo.predictions(number),
        here="zoo",
    )


def layer(request: Request) -> Response:
    """The weights of one layer of one member, with its singular values."""
    zoo = find_zoo(request)
    return json(zoo.layer(request.path_params["number"], request.query_params.get("name", "")))


ZOO = "/zoo/{study}/{id}"
routes = [
    Route("/zoo", page),
    Route(ZOO, one),
    Route(f"{ZOO}/{{number:int}}", member),
    Route(f"/api{ZOO}", api),
    Route(f"/api{ZOO}/{{number:int}}", layer),
]
