"""Counts over bins, beside the null's where there is one.

Source: a tensor, a column of a table (`tables/x.csv#column`), or a table with the columns left, right, count.
Options: bins, null (another source), log_y, x_label, unit.
"""

from pathlib import Path
from typing import Any

import numpy as np

from digsite.serve.asked import whole
from digsite.serve.tensors.grid import CHUNK
from digsite.serve.tensors.stored import open_tensor
from digsite.serve.views import View
from digsite.serve.views.curve import read_columns

SAMPLE = 2_000_000


def data(view: View, params: Any) -> dict[str, Any]:
    shown = {key: view.options[key] for key in ("x_label", "log_y", "unit", "caption") if key in view.options}
    if view.path.suffix == ".csv" and not view.key:
        table = read_columns(view)
        if {"left", "right", "count"} <= table.keys():
            edges = [*table["left"], *table["right"][-1:]]
            return {"edges": edges, "counts": {"count": table["count"]}, **shown}
    samples = {"values": _values(view, *view.sibling(view.source))}
    if "null" in view.options:
        samples["null"] = _values(view, *view.sibling(str(view.options["null"])))
    kept = {name: values[np.isfinite(values)] for name, values in samples.items()}
    bins = max(1, whole(view.options.get("bins", 60), 60, most=500))
    edges = np.histogram_bin_edges(np.concatenate(list(kept.values())), bins=bins)
    counts = {name: np.histogram(values, edges)[0] for name, values in kept.items()}
    return {"edges": edges, "counts": counts, "n": {n: len(v) for n, v in kept.items()}, **shown}


def _values(view: View, path: Path, key: str) -> np.ndarray:
    if path.suffix == ".csv":
        table = read_columns(View(view.run, view.name, view.kind, path.relative_to(view.run.path).as_posix()))
        column = table.get(key) or next(iter(table.values()), [])
        return np.array([v for v in column if isinstance(v, float)])
    tensor = open_tensor(path, key)
    size = int(np.prod(tensor.shape))
    if size <= SAMPLE:
        return tensor.read().ravel().astype(float)
    step = -(-size // CHUNK)  # every so many rows of a big tensor, or cells where one row is all of it
    rows = tensor.read((slice(None, None, step),)) if tensor.shape[0] >= step else tensor.read((0,))
    return rows.ravel()[:: max(1, rows.size // SAMPLE)].astype(float)
