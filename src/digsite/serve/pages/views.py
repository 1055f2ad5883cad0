"""Views of a run: a page for each, its data, and the tiles, cells and neighbors of matrices."""

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from digsite.record.layout import RunDir
from digsite.report.comparison import compare_facts
from digsite.report.facts import gather_facts
from digsite.serve import places
from digsite.serve.places import read_whole
from digsite.serve.pyramid import nearest_lines
from digsite.serve.site import answer_json, run_of, site_of
from digsite.serve.views import View, find_view, matrix, read_view, refuse_unreadable

CELLS = 65_536


def show_view(request: Request) -> Response:
    run = run_of(request)
    view = find_view(run, request.path_params["name"])
    return site_of(request).page("view.html", facts=gather_facts(run), view=view, here="runs")


def send_view(request: Request) -> Response:
    view = _named_view(request)
    return answer_json(
        {"name": view.name, "kind": view.kind, "source": view.source, **read_view(view, request.query_params)}
    )


def send_tile(request: Request) -> Response:
    """Raw little-endian float32; the shape is in the headers."""
    view, params = _named_view(request, "matrix"), request.query_params
    level, row, column = (_whole_or_refuse(request, name) for name in ("level", "row", "column"))
    try:
        with refuse_unreadable(view):
            cells = matrix.find_chosen(view, params).tile(level, row, column)
    except IndexError:
        raise HTTPException(404, "There is no such tile.") from None
    return _pack_cells(cells)


def send_cells(request: Request) -> Response:
    """Exact values of a small rectangle, and where its rows and columns are stored."""
    view, params = _named_view(request, "matrix"), request.query_params
    top, left, height, width = (
        _whole_or_refuse(request, name) for name in ("top", "left", "height", "width")
    )
    with refuse_unreadable(view):
        pyramid = matrix.find_chosen(view, params)
    n_rows, n_columns = pyramid.grid.shape
    bottom, right = min(top + height, n_rows), min(left + width, n_columns)
    if top >= bottom or left >= right or (bottom - top) * (right - left) > CELLS:
        raise HTTPException(400, f"Ask for at most {CELLS} cells inside of the matrix.")
    rows = np.arange(top, bottom) if pyramid.rows is None else pyramid.rows[top:bottom]
    columns = np.arange(left, right) if pyramid.columns is None else pyramid.columns[left:right]
    values = pyramid.cells(top, bottom, left, right)
    return answer_json({"rows": rows, "columns": columns, "values": values})


def send_nearest(request: Request) -> Response:
    """The nearest rows or columns of a stored one, beside what chance gives."""
    view, params = _named_view(request, "matrix"), request.query_params
    with refuse_unreadable(view):
        grid = matrix.grid_of(view, params)
    axis = "columns" if params.get("axis") == "columns" else "rows"
    index, k = _whole_or_refuse(request, "index"), min(_whole_or_refuse(request, "k", 12), 200)
    if index >= grid.shape[axis == "columns"]:
        raise HTTPException(400, f"There are only {grid.shape[axis == 'columns']} {axis}.")
    with refuse_unreadable(view):
        nearest = nearest_lines(grid, axis, index, k)
    return answer_json(
        {
            "axis": axis,
            "index": index,
            "measure": nearest.measure,
            "neighbors": nearest.index,
            "distance": nearest.value,
            "null": nearest.null,
        }
    )


def _named_view(request: Request, kind: str = "") -> View:
    run, name = run_of(request), request.query_params.get("name", "")
    view = _pair_beside(request, run, name) if "other_id" in request.path_params else find_view(run, name)
    if kind not in ("", view.kind):
        raise HTTPException(400, f"The view '{view.name}' is a {view.kind}.")
    return view


def _pair_beside(request: Request, run: RunDir, name: str) -> View:
    """The masks of two runs that stand beside each other under this name."""
    params = request.path_params
    other = places.find_run_folder(site_of(request).root, params["other_study"], params["other_id"])
    titles = compare_facts([gather_facts(run), gather_facts(other)]).labels
    for pair in matrix.list_pairs(run, other, titles):
        if pair.name == name:
            return pair
    raise HTTPException(404, f"These two runs have no masks '{name}' of one shape.")


def _whole_or_refuse(request: Request, name: str, default: int = 0) -> int:
    text = request.query_params.get(name, str(default))
    if (number := read_whole(text, -1)) < 0:
        raise HTTPException(400, f"'{name}' must be a whole number.")
    return number


def _pack_cells(values: np.ndarray) -> Response:
    body = np.ascontiguousarray(values, dtype="<f4").tobytes()
    headers = {"x-rows": str(values.shape[0]), "x-columns": str(values.shape[1])}
    return Response(body, media_type="application/octet-stream", headers=headers)


RUN = "/runs/{study}/{id}"
BESIDE = f"{RUN}/beside/{{other_study}}/{{other_id}}"
routes = [
    Route(f"{RUN}/views/{{name:path}}", show_view),
    Route(f"/api{RUN}/view", send_view),
    Route(f"/api{RUN}/tile", send_tile),
    Route(f"/api{RUN}/cells", send_cells),
    Route(f"/api{RUN}/near", send_nearest),
    Route(f"/api{BESIDE}/view", send_view),
    Route(f"/api{BESIDE}/tile", send_tile),
    Route(f"/api{BESIDE}/cells", send_cells),
]
