"""Lines, bands and nulls over a common axis, or points that link to runs."""

import math
import re
from itertools import zip_longest
from typing import Any

import numpy as np

from digsite.base.errors import UsageError
from digsite.report.facts import read_table
from digsite.report.plots import thin_series
from digsite.serve.live import journal_columns
from digsite.serve.places import read_whole
from digsite.serve.tensor_files import open_tensor
from digsite.serve.views import View, ViewKind

POINTS = 4000
ROWS = 200_000  # of a table
LINES = 64
SLICES = 64  # of a scrubbed tensor are looked at for the range of its axis
_ZOO = re.compile(r"^zoo:(?:(?:.*/)?([\w.-]+/[\w.-]+)/)?artifacts/zoo(?:-0)?#(\d+)$")
_LABELS = ("x_label", "y_label", "log_x", "log_y", "style", "marks", "caption", "unit")


class Curve(ViewKind):
    """Lines, bands and nulls over a common axis, or points that link to runs.

    Source: a table, the journal (`metrics.jsonl`), or a tensor of one or two axes (one line per row). With scrub="#steps" the
    tensor has one more axis in front, and a slider goes along it.
    Options: x, y, band=[low, high] (columns or pairs of columns), null (columns), marks=[{"x", "label"}], group (a column
    that splits the rows into lines), style="points", link (a column with run names), label (a column that names each point; the
    same name is marked in every view of the page), x_label, y_label, log_x, log_y.
    """

    @staticmethod
    def read_data(view: View, params: Any) -> dict[str, Any]:
        suffix = view.path.suffix
        if suffix == ".csv":
            lines = _from_table(view)
        elif suffix == ".jsonl":
            lines = _from_journal(view)
        elif "scrub" in view.options:
            return _scrub_rows(view, params.get("at", ""))
        else:
            lines = _from_tensor(view)
        return {"lines": lines[:LINES], "left_out": max(0, len(lines) - LINES), **_axis_labels(view)}


def _axis_labels(view: View) -> dict[str, Any]:
    return {key: view.options[key] for key in _LABELS if key in view.options}


def _from_table(view: View) -> list[dict[str, Any]]:
    table = table_columns(view)
    names = list(table)
    options = view.options
    wished = str(options.get("x", ""))
    x_name = wished if wished in table else names[0] if names else ""
    nulls = _listed_option(options.get("null"))
    bands = _read_bands(options.get("band"))
    split = {name: table.get(str(options.get(name, ""))) for name in ("group", "link", "label")}
    if split["label"] and not split["link"]:
        own = f"{view.run.path.parent.name}/{view.run.id}"
        pages = [_inside_path(str(label), own) for label in split["label"]]
        split["link"] = None if None in pages else pages
    used = {x_name, *nulls, *(c for band in bands for c in band), *(options.get(name) for name in split)}
    wanted = [
        n for n in _listed_option(options.get("y")) or [n for n in names if n not in used] if n in table
    ]
    x = table.get(x_name, [])
    lines = []
    for index, name in enumerate(wanted):
        band = bands[index] if index < len(bands) else None
        lines += _split_by(name, x, table, band, split)
    for name in (n for n in nulls if n in table):
        lines += [
            {**line, "null": True} for line in _split_by(name, x, table, None, {"group": split["group"]})
        ]
    return lines


def _split_by(name: str, x: list, table: dict[str, list], band: Any, split: dict[str, list | None]) -> list:
    """One line, or one per value of the group column."""
    parts: dict[Any, list[int]] = {}
    group, label, link = split["group"], split.get("label"), split.get("link")
    for i in range(len(x)):
        parts.setdefault(group[i] if group else None, []).append(i)
    lines = []
    for value, rows in parts.items():
        line: dict[str, Any] = {
            "name": name if value is None else f"{value}" if len(parts) > 1 else name,
            "x": [x[i] for i in rows],
            "y": [_option_number(table[name][i]) for i in rows],
        }
        if band and all(side in table for side in band):
            line["low"], line["high"] = ([_option_number(table[side][i]) for i in rows] for side in band)
        if label:
            line["label"] = [_plain_line(label[i]) for i in rows]
        if link:
            line["link"] = [str(link[i]) for i in rows]
        lines.append(line)
    return lines


def _plain_line(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _inside_path(reference: str, own: str) -> str | None:
    """The page of a zoo's member, when a run below this folder has made the zoo: the run `own` where none is named."""
    match = _ZOO.match(reference)
    return f"/zoo/{match[1] or own}/{match[2]}" if match else None


def table_columns(view: View) -> dict[str, list]:
    """A CSV file by columns; what looks like a number is one."""
    table = read_table(view.path.parent, view.path.stem, limit=ROWS)
    columns: dict[str, list] = {name: [] for name in table.columns}
    for row in table.rows:
        for name, cell in zip_longest(table.columns, row[: len(table.columns)], fillvalue=""):
            columns[name].append(_cell_number(cell))
    return columns


def _from_journal(view: View) -> list[dict[str, Any]]:
    series = journal_columns(view.path)
    wanted = _listed_option(view.options.get("y")) or list(series)
    thin = {name: thin_series(*series[name], POINTS) for name in wanted if name in series}
    return [{"name": name, "x": x, "y": y} for name, (x, y) in thin.items()]


def _scrub_rows(view: View, wish: str) -> dict[str, Any]:
    """One slice of a tensor (slices, lines, points), and the values along the first axis; the last one if none is asked for."""
    tensor = open_tensor(view.path, view.key)
    along = open_tensor(*view.sibling(str(view.options["scrub"]))).read().ravel()
    if len(tensor.shape) < 2 or len(along) != tensor.shape[0]:
        raise UsageError(f"'{view.source}' has shape {list(tensor.shape)} for {len(along)} slices.")
    at = min(read_whole(wish, len(along)), len(along) - 1)
    values = tensor.read((slice(0, None, max(1, len(along) // SLICES)),)).astype(float)
    finite = values[np.isfinite(values)]
    return {
        "lines": _rows_of(view, tensor.read((at,)).astype(float))[:LINES],
        "slices": along,
        "at": at,
        "scrub_label": view.options.get("scrub_label", "slice"),
        "range": [finite.min(), finite.max()] if finite.size else None,
        "left_out": 0,
        **_axis_labels(view),
    }


def _from_tensor(view: View) -> list[dict[str, Any]]:
    return _rows_of(view, open_tensor(view.path, view.key).read().astype(float))


def _rows_of(view: View, values: np.ndarray) -> list[dict[str, Any]]:
    values = np.atleast_2d(values)
    values = values.reshape(-1, values.shape[-1])[: LINES + 1]
    x = np.arange(values.shape[1])
    if "x" in view.options:
        x = open_tensor(*view.sibling(str(view.options["x"]))).read().ravel()
    names = view.options.get("names") or [str(i) for i in range(len(values))]
    nulls = _listed_option(view.options.get("null"))
    lines = []
    for name, row in zip(names, values):
        xs, ys = thin_series(x.tolist(), row.tolist(), POINTS)
        lines.append({"name": str(name), "x": xs, "y": ys, "null": str(name) in nulls})
    return lines


def _read_bands(option: Any) -> list[tuple[str, str]]:
    """["low", "high"], or a list of such pairs."""
    if not isinstance(option, list) or not option:
        return []
    pairs = option if isinstance(option[0], list) else [option]
    return [(str(p[0]), str(p[1])) for p in pairs if len(p) == 2]


def _listed_option(option: Any) -> list[str]:
    return [] if option is None else [str(o) for o in option] if isinstance(option, list) else [str(option)]


def _cell_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _option_number(value: Any) -> float | None:
    return value if isinstance(value, float) and math.isfinite(value) else None
