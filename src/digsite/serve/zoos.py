"""Zoos inside of runs, read without torch: an index, a table of labels, rows of parameters in shards."""

import json
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request

from digsite.record.layout import RunDir
from digsite.report.facts import read_table
from digsite.report.numbers import cell
from digsite.serve import places
from digsite.serve.site import Site, run_of, site
from digsite.serve.tensors.stored import open_tensor

FOLDERS = ("artifacts/zoo", "artifacts/zoo-0")  # what a zoo study makes, and the first zoo of a reading study
MATRIX = 40_000  # cells of a layer that are sent whole


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
        found = []
        for architecture in self.index["architectures"]:
            model = architecture["model"]
            size = sum(prod(shape) for shape in architecture["shapes"])
            settings = ", ".join(f"{k} {v}" for k, v in model.items() if k != "kind" and v is not None)
            found.append(f"{model.get('kind', 'model')} of {size} parameters ({settings})")
        return found

    def member(self, number: int) -> list[Weights]:
        """The tensors of one trained network: one row of one shard."""
        for block in self.index["blocks"]:
            if block["first"] <= number < block["first"] + block["count"]:
                return self._cut(block, number - block["first"])
        raise HTTPException(404, f"This zoo has {self.n} members, counted from 0.")

    def _cut(self, block: dict[str, Any], row: int) -> list[Weights]:
        architecture = self.index["architectures"][block["architecture"]]
        shard = places.file(self.folder, block["shard"])
        values = open_tensor(shard, f"{block.get('part', 0)}@{self.steps[-1]}").read((row,))
        sizes = [prod(shape) for shape in architecture["shapes"]]
        edges = np.cumsum([0, *sizes])
        if edges[-1] != len(values):
            raise HTTPException(400, "The index of this zoo does not fit its shards.")
        cuts = zip(architecture["names"], architecture["shapes"], pairwise(edges))
        return [Weights(name, values[a:b].reshape(shape).astype(np.float32)) for name, shape, (a, b) in cuts]

    def labels(self, number: int) -> dict[str, str]:
        table = read_table(self.folder, "members", start=number, limit=1)
        return {name: cell(text) for name, text in zip(table.columns, table.rows[0])} if table.rows else {}

    def predictions(self, number: int) -> list[dict[str, str]]:
        """What the readers of the same run say about a member, with their intervals."""
        try:
            places.file(self.run.tables, "networks.csv")
        except HTTPException:
            return []
        table = read_table(self.run.tables, "networks", limit=100_000)
        rows = (dict(zip(table.columns, row)) for row in table.rows)
        ending = f"{self.run.id}/{self.folder.relative_to(self.run.path).as_posix()}#{number}"
        return [row for row in rows if row.get("network", "").endswith(ending)]

    def layer(self, number: int, name: str) -> dict[str, Any]:
        for weights in self.member(number):
            if weights.name == name:
                return _shown(weights)
        raise HTTPException(404, f"This member has no tensor '{name}'.")


def _shown(weights: Weights) -> dict[str, Any]:
    """Cells and singular values, beside the edge that independent entries of the same variance would reach."""
    matrix = weights.matrix
    limit = float(np.abs(matrix).max()) or 1.0
    answer: dict[str, Any] = {
        "name": weights.name,
        "shape": list(weights.shape),
        "low": -limit,
        "high": limit,
    }
    if matrix.size <= MATRIX:
        answer["values"] = matrix
    if min(matrix.shape) > 1:
        answer["singular_values"] = np.linalg.svd(matrix, compute_uv=False)
        answer["noise_edge"] = float(matrix.std() * (np.sqrt(matrix.shape[0]) + np.sqrt(matrix.shape[1])))
    return answer


def zoos_of(here: Site) -> list[ZooFolder]:
    return [zoo for entry in here.index.entries() if (zoo := _open(here, entry.run)) is not None]


def find_zoo(request: Request) -> ZooFolder:
    zoo = _open(site(request), run_of(request))
    if zoo is None:
        raise HTTPException(404, "This run has made no zoo.")
    return zoo


def _open(here: Site, run: RunDir) -> ZooFolder | None:
    return next((zoo for name in FOLDERS if (zoo := _open_folder(run, name))), None)


def _open_folder(run: RunDir, name: str) -> ZooFolder | None:
    try:
        folder = places.inside(run.path, name)
        index = json.loads(places.file(folder, "zoo.json").read_bytes())
        assert {"blocks", "architectures", "steps"} <= index.keys()
    except (HTTPException, OSError, json.JSONDecodeError, UnicodeDecodeError, AssertionError, AttributeError):
        return None
    return ZooFolder(run, folder, index)
