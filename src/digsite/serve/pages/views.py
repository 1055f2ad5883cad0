"""Views of a run: a page for each, its data, and the tiles, cells and neighbors of matrices."""

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from digsite.report.facts import gather
from digsite.serve.asked import whole
from digsite.serve.site import json, run_of, site
from digsite.serve.tensors.near import nearest
from digsite.serve.views import View, data, find_view, matrix, readable

CELLS = 65_536


def page(request: Request) -> Response:
    run = run_of(request)
    view = find_view(run, request.path_params["name"])
    return site(request).page("view.html", facts=gather(run), view=view, here="runs")


def api(request: Request) -> Response:
    view = _view(request)
    return json(
        {"name": view.name, "kind": view.kind, "source": view.source, **data(view, request.query_params)}
    )


def tile(request: Request) -> Response:
    """Raw little-endian float32; the shape is in the headers."""
    view, params = _view(request, "matrix"), request.query_params
    level, row, column = (_whole(request, name) for name in ("level", "row", "column"))
    try:
        with readable(view):
            cells = matrix.chosen(view, params).tile(level, row, column)
    except IndexError:
        raise HTTPException(404, "There is no such tile.") from None
    return _cells(cells)


def cells(request: Request) -> Response:
    """Exact values of a small rectangle, and where its rows and columns are stored."""
    view, params = _view(request, "matrix"), request.query_params
    top, left, height, width = (_whole(request, name) for name in ("top", "left", "height", "width"))
    with readable(view):
        pyramid = matrix.chosen(view, params)
    n_rows, n_columns = pyramid.grid.shape
    bottom, right = min(top + height, n_rows), min(left + width, n_columns)
    if top >= bottom or left >= right or (bottom - top) * (right - left) > CELLS:
        raise HTTPException(400, f"Ask for at most {CELLS} cells inside of the matrix.")
    rows = np.arange(top, bottom) if pyramid.rows is None else pyramid.rows[top:bottom]
    columns = np.arange(left, right) if pyramid.columns is None else pyramid.columns[left:right]
    values = pyramid.cells(top, bottom, left, right)
    return json({"rows": rows, "columns": columns, "values": values})


def near(request: Request) -> Response:
    """The nearest rows or columns of a stored one, beside what chance gives."""
    view, params = _view(request, "matrix"), request.query_params
    with readable(view):
        grid = matrix.grid_of(view, params)
    axis = "columns" if params.get("axis") == "columns" else "rows"
    index, k = _whole(request, "index"), min(_whole(request, "k", 12), 200)
    if index >= grid.shape[axis == "columns"]:
        raise HTTPException(400, f"There are only {grid.shape[axis == 'columns']} {axis}.")
    with readable(view):
        found = nearest(grid, axis, index, k)
    return json(
        {
            "axis": axis,
            "index": index,
            "measure": found.measure,
            "neighbors": found.index,
            "distance": found.value,
            "null": found.null,
        }
    )


def _view(request: Request, kind: str = "") -> View:
    view = find_view(run_of(request), request.query_params.get("name", ""))
    if kind and view.kind != kind:
        raise HTTPException(400, f"The view '{view.name}' is a {view.kind}.")
    return view


def _whole(request: Request, name: str, default: int = 0) -> int:
    text = request.query_params.get(name, str(default))
    if (number := whole(text, -1)) < 0:
        raise HTTPException(400, f"'{name}' must be a whole number.")
    return number


def _cells(values: np.ndarray) -> Response:
    body = np.ascontiguousarray(values, dtype="<f4").tobytes()
    headers = {"x-rows": str(values.shape[0]), "x-columns": str(values.shape[1])}
    return Response(body, media_type="application/octet-stream", headers=headers)


RUN = "/runs/{study}/{id}"
routes = [
    Route(f"{RUN}/views/{{name:path}}", page),
    Route(f"/api{RUN}/view", api),
    Route(f"/api{RUN}/tile", tile),
    Route(f"/api{RUN}/cells", cells),
    Route(f"/api{RUN}/near", near),
]
