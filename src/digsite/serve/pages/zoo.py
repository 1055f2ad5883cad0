"""Zoos: collections of trained networks that runs have made; every member opens to its weights and spectra."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from digsite.base.stored import read_json
from digsite.record.layout import RunDir
from digsite.report.facts import read_table
from digsite.report.numbers import show_cell
from digsite.serve import places
from digsite.serve.places import read_whole
from digsite.serve.site import Site, answer_json, run_of, site_of
from digsite.serve.tensor_files import open_tensor

ROWS = 50


def show_zoos(request: Request) -> Response:
    here = site_of(request)
    return here.page("zoos.html", zoos=zoos_of(here), here="zoo")


def show_zoo(request: Request) -> Response:
    here, zoo = site_of(request), find_zoo(request)
    first = read_whole(request.query_params.get("start", ""))
    table = read_table(zoo.folder, "members", start=first, limit=ROWS)
    return here.page("zoo.html", zoo=zoo, table=table, start=first, step=ROWS, here="zoo")


def send_labels(request: Request) -> Response:
    """The labels by columns, for the map."""
    zoo = find_zoo(request)
    table = read_table(zoo.folder, "members", limit=5000)
    return answer_json(
        {"columns": table.columns, "rows": table.rows, "total": table.total, "architectures": zoo.describe()}
    )


def show_member(request: Request) -> Response:
    here, zoo = site_of(request), find_zoo(request)
    number = _number_of(request)
    network = zoo.member(number)
    return here.page(
        "member.html",
        zoo=zoo,
        number=number,
        found=network,
        labels=zoo.labels(number),
        predictions=zoo.predictions(number),
        here="zoo",
    )


def send_layer(request: Request) -> Response:
    """The weights of one layer of one member, with its singular values."""
    zoo = find_zoo(request)
    return answer_json(zoo.layer(_number_of(request), request.query_params.get("name", "")))


def _number_of(request: Request) -> int:
    """The member of the address; digits without end are none, and cost no conversion."""
    number = read_whole(request.path_params["number"], -1)
    if number < 0:
        raise HTTPException(404, "There is no such network.")
    return number


ZOO = "/zoo/{study}/{id}"
routes = [
    Route("/zoo", show_zoos),
    Route(ZOO, show_zoo),
    Route(f"{ZOO}/{{number}}", show_member),
    Route(f"/api{ZOO}", send_labels),
    Route(f"/api{ZOO}/{{number}}", send_layer),
]


# Zoos inside of runs, read without torch: an index, a table of labels, rows of parameters in shards.

FOLDERS = ("artifacts/zoo", "artifacts/zoo-0")  # what a zoo study makes, and the first zoo of a reading study
MATRIX = 40_000  # cells of a layer that are sent whole
LAYER = 4_000_000  # cells of a layer that are looked at


@dataclass(frozen=True)
class Weights:
    """One tensor of one member."""

    name: str
    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def matrix(self) -> np.ndarray:
        """Filters of a convolution as rows."""
        return self.values.reshape(len(self.values), -1) if self.values.ndim > 1 else self.values[None]

    @property
    def norm(self) -> float:
        return float(np.linalg.norm(self.values))


@dataclass(frozen=True)
class ZooFolder:
    run: RunDir
    folder: Path
    index: dict[str, Any]

    @property
    def n(self) -> int:
        return sum(block["count"] for block in self.index["blocks"])

    @property
    def key(self) -> str:
        return f"{self.run.path.parent.name}/{self.run.id}"

    @property
    def steps(self) -> list[int]:
        return list(self.index["steps"])

    def describe(self) -> list[str]:
        """One phrase per architecture."""
        lines = []
        for architecture in self.index["architectures"]:
            model = architecture["model"]
            size = sum(prod(shape) for shape in architecture["shapes"])
            settings = ", ".join(f"{k} {v}" for k, v in model.items() if k != "kind" and v is not None)
            lines.append(f"{model.get('kind', 'model')} of {size} parameters ({settings})")
        return lines

    def member(self, number: int) -> list[Weights]:
        """The tensors of one trained network: one row of one shard."""
        for block in self.index["blocks"]:
            if block["first"] <= number < block["first"] + block["count"]:
                return self._cut(block, number - block["first"])
        raise HTTPException(404, f"This zoo has {self.n} members, counted from 0.")

    def _cut(self, block: dict[str, Any], row: int) -> list[Weights]:
        architecture = self.index["architectures"][block["architecture"]]
        shard = places.find_file(self.folder, block["shard"])
        values = open_tensor(shard, f"{block.get('part', 0)}@{self.steps[-1]}").read((row,))
        sizes = [prod(shape) for shape in architecture["shapes"]]
        edges = np.cumsum([0, *sizes])
        if edges[-1] != len(values):
            raise HTTPException(400, "The index of this zoo does not fit its shards.")
        cuts = zip(architecture["names"], architecture["shapes"], pairwise(edges))
        return [Weights(name, values[a:b].reshape(shape).astype(np.float32)) for name, shape, (a, b) in cuts]

    def labels(self, number: int) -> dict[str, str]:
        table = read_table(self.folder, "members", start=number, limit=1)
        return (
            {name: show_cell(text) for name, text in zip(table.columns, table.rows[0])} if table.rows else {}
        )

    def predictions(self, number: int) -> list[dict[str, str]]:
        """What the readers of the same run say about a member, with their intervals."""
        try:
            places.find_file(self.run.tables, "networks.csv")
        except HTTPException:
            return []
        table = read_table(self.run.tables, "networks", limit=100_000)
        rows = (dict(zip(table.columns, row)) for row in table.rows)
        own = f"{self.folder.relative_to(self.run.path).as_posix()}#{number}"
        named = (f"zoo:{own}", f"{self.run.id}/{own}")
        return [row for row in rows if row.get("network", "").endswith(named)]

    def layer(self, number: int, name: str) -> dict[str, Any]:
        for weights in self.member(number):
            if weights.name == name:
                return _visible_layers(weights)
        raise HTTPException(404, f"This member has no tensor '{name}'.")


def _visible_layers(weights: Weights) -> dict[str, Any]:
    """Cells and singular values, beside the edge that independent entries of the same variance would reach."""
    matrix = weights.matrix
    if not weights.values.size or weights.values.size > LAYER:
        raise HTTPException(400, f"A tensor of {weights.values.size:,} numbers is not drawn here.")
    limit = float(np.abs(matrix).max()) or 1.0
    limit = limit if np.isfinite(limit) else 1.0
    answer: dict[str, Any] = {
        "name": weights.name,
        "shape": list(weights.shape),
        "low": -limit,
        "high": limit,
    }
    if matrix.size <= MATRIX:
        answer["values"] = matrix
    if min(matrix.shape) > 1 and np.isfinite(matrix).all():
        answer["singular_values"] = np.linalg.svd(matrix, compute_uv=False)
        answer["noise_edge"] = float(matrix.std() * (np.sqrt(matrix.shape[0]) + np.sqrt(matrix.shape[1])))
    return answer


def zoos_of(here: Site) -> list[ZooFolder]:
    return [zoo for entry in here.index.read_all() if (zoo := _open_zoo(here, entry.run)) is not None]


def find_zoo(request: Request) -> ZooFolder:
    zoo = _open_zoo(site_of(request), run_of(request))
    if zoo is None:
        raise HTTPException(404, "This run has made no zoo.")
    return zoo


def _open_zoo(here: Site, run: RunDir) -> ZooFolder | None:
    return next((zoo for name in FOLDERS if (zoo := _open_folder(run, name))), None)


def _open_folder(run: RunDir, name: str) -> ZooFolder | None:
    try:
        folder = places.find_inside(run.path, name)
        index = read_json(places.find_file(folder, "zoo.json"), kind=dict)
    except HTTPException:
        return None
    return ZooFolder(run, folder, index) if isinstance(index, dict) and _makes_sense(index) else None


def _makes_sense(index: dict[str, Any]) -> bool:
    """Whether the index has the form that a zoo's writer gives it: what the pages rely on."""
    blocks, kinds, steps = (index.get(name) for name in ("blocks", "architectures", "steps"))
    if not all(isinstance(part, list) and part for part in (blocks, kinds, steps)):
        return False
    assert blocks and kinds and steps
    return (
        all(map(_count_of, steps))
        and all(map(_is_architecture, kinds))
        and all(
            isinstance(b, dict)
            and isinstance(b.get("shard"), str)
            and all(_count_of(b.get(key)) for key in ("first", "count", "architecture"))
            and _count_of(b.get("part", 0))
            and b["architecture"] < len(kinds)
            for b in blocks
        )
    )


def _is_architecture(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("model"), dict):
        return False
    names, shapes = value.get("names"), value.get("shapes")
    if not isinstance(names, list) or not isinstance(shapes, list) or len(names) != len(shapes):
        return False
    return all(isinstance(s, list) and len(s) < 9 and all(map(_count_of, s)) for s in shapes) and all(
        isinstance(name, str) for name in names
    )


def _count_of(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40
