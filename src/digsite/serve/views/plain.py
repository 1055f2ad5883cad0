"""Kinds of views that are drawn as they are stored: tables, graphs, pictures, histograms."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from digsite.base.errors import UsageError
from digsite.base.stored import finite_number, read_json
from digsite.report.facts import read_table
from digsite.serve.places import read_whole
from digsite.serve.tensor_files import CHUNK, open_tensor
from digsite.serve.views import View, ViewKind
from digsite.serve.views.curve import table_columns

ROWS = 5000


class Table(ViewKind):
    """A table that can be sorted and searched. Source: a CSV file. Options: columns, link (a column with run names)."""

    @staticmethod
    def read_data(view: View, params: Any) -> dict[str, Any]:
        path = view.path
        table = read_table(path.parent, path.stem, limit=ROWS)
        asked = view.options.get("columns")
        wanted = [c for c in asked if c in table.columns] if isinstance(asked, list) else list(table.columns)
        at = [table.columns.index(c) for c in wanted]
        rows = [[row[i] if i < len(row) else "" for i in at] for row in table.rows]
        shown = {key: view.options[key] for key in ("link", "caption") if key in view.options}
        return {"columns": wanted, "rows": rows, "total": table.total, **shown}


NODES, EDGES = 600, 3000


class Graph(ViewKind):
    """Nodes and weighted edges, in layers where the nodes say so.

    Source: JSON {"nodes": [{"id", "label", "layer", "size", "group"}], "edges": [{"source", "target", "weight"}]}.
    """

    @staticmethod
    def read_data(view: View, params: Any) -> dict[str, Any]:
        content = read_json(view.path, kind=dict)
        for part in [p for p in view.key.split(".") if p]:
            content = content.get(part) if isinstance(content, dict) else None
        nodes, edges = (_listed_entries(content, name) for name in ("nodes", "edges"))
        if nodes is None or edges is None:
            raise UsageError(f"'{view.source}' holds no nodes and edges.")
        edges.sort(key=lambda e: -abs(finite_number(e.get("weight", 1)) or 0))
        caption = {"caption": view.options["caption"]} if "caption" in view.options else {}
        return {
            "nodes": nodes[:NODES],
            "edges": edges[:EDGES],
            "left_out": max(0, len(edges) - EDGES),
            **caption,
        }


def _listed_entries(content: Any, name: str) -> list[dict[str, Any]] | None:
    listed = content.get(name) if isinstance(content, dict) else None
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else None


SHOWN = 64
PIXELS = 1_000_000  # values of one picture


class Image(ViewKind):
    """Pictures: a tensor (h, w), (c, h, w) or (n, c, h, w) with values in [0, 1], or a PNG or SVG file of the run.

    Options: labels (one per picture), columns, caption.
    """

    @staticmethod
    def read_data(view: View, params: Any) -> dict[str, Any]:
        shown = {key: view.options[key] for key in ("labels", "caption") if key in view.options}
        if view.path.suffix in (".png", ".svg"):
            return {"file": view.path.relative_to(view.run.path).as_posix(), **shown}
        tensor = open_tensor(view.path, view.key)
        start = read_whole(params.get("start", ""))
        if math.prod(tensor.shape[-3:]) > PIXELS:
            raise UsageError(f"A picture of {math.prod(tensor.shape[-3:]):,} values is too large to be sent.")
        if 0 in tensor.shape:
            raise UsageError(f"'{view.source}' holds pictures without a pixel: shape {list(tensor.shape)}.")
        pictures = _as_pictures(
            tensor.read((slice(start, start + SHOWN),)) if len(tensor.shape) == 4 else tensor.read()
        )
        total = tensor.shape[0] if len(tensor.shape) == 4 else 1
        return {"pictures": [_pack_picture(p) for p in pictures], "start": start, "total": total, **shown}


def _as_pictures(values: np.ndarray) -> np.ndarray:
    if not 2 <= values.ndim <= 4:
        raise UsageError(f"A tensor with {values.ndim} axes is no picture.")
    return values.reshape((1,) * (4 - values.ndim) + values.shape)


def _pack_picture(picture: np.ndarray) -> dict[str, Any]:
    """Bytes of a small picture: gray or the first three channels."""
    channels = picture[:3] if len(picture) >= 3 else picture[:1]
    scaled = (
        channels if picture.dtype == np.uint8 else np.clip(np.nan_to_num(channels.astype(float)), 0, 1) * 255
    )
    return {
        "height": picture.shape[1],
        "width": picture.shape[2],
        "channels": scaled.astype(np.uint8).reshape(len(channels), -1),
    }


SAMPLE = 2_000_000


class Histogram(ViewKind):
    """Counts over bins, beside the null's where there is one.

    Source: a tensor, a column of a table (`tables/x.csv#column`), or a table with the columns left, right, count.
    Options: bins, null (another source), log_y, x_label, unit.
    """

    @staticmethod
    def read_data(view: View, params: Any) -> dict[str, Any]:
        shown = {
            key: view.options[key] for key in ("x_label", "log_y", "unit", "caption") if key in view.options
        }
        if view.path.suffix == ".csv" and not view.key:
            table = table_columns(view)
            if {"left", "right", "count"} <= table.keys():
                edges = [*table["left"], *table["right"][-1:]]
                return {"edges": edges, "counts": {"count": table["count"]}, **shown}
        samples = {"values": _values_of(view, *view.sibling(view.source))}
        if "null" in view.options:
            samples["null"] = _values_of(view, *view.sibling(str(view.options["null"])))
        kept = {name: values[np.isfinite(values)] for name, values in samples.items()}
        bins = max(1, read_whole(view.options.get("bins", 60), 60, most=500))
        edges = np.histogram_bin_edges(np.concatenate(list(kept.values())), bins=bins)
        counts = {name: np.histogram(values, edges)[0] for name, values in kept.items()}
        return {"edges": edges, "counts": counts, "n": {n: len(v) for n, v in kept.items()}, **shown}


def _values_of(view: View, path: Path, key: str) -> np.ndarray:
    if path.suffix == ".csv":
        table = table_columns(
            View(view.run, view.name, view.kind, path.relative_to(view.run.path).as_posix())
        )
        column = table.get(key) or next(iter(table.values()), [])
        return np.array([v for v in column if isinstance(v, float)])
    tensor = open_tensor(path, key)
    size = int(np.prod(tensor.shape))
    if size <= SAMPLE:
        return tensor.read().ravel().astype(float)
    step = -(-size // CHUNK)  # every so many rows of a big tensor, or cells where one row is all of it
    rows = tensor.read((slice(None, None, step),)) if tensor.shape[0] >= step else tensor.read((0,))
    return rows.ravel()[:: max(1, rows.size // SAMPLE)].astype(float)
