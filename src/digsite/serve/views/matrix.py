"""A matrix of any size: a summary here, the cells as tiles."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from starlette.exceptions import HTTPException

from digsite.base.errors import DigsiteError, UsageError
from digsite.record.layout import RunDir
from digsite.serve.places import read_whole
from digsite.serve.pyramid import TILE, Drawn, Pyramid, find_pyramid, sample_cells
from digsite.serve.tensor_files import Grid, open_tensor
from digsite.serve.views import View, ViewKind, refuse_unreadable, views_of

PANELS = 4
PAIRS = 60  # masks of two runs that a menu offers
_SHOWN = ("x_label", "y_label", "unit", "centered", "caption", "row_names", "column_names", "lead_names")


class Matrix(ViewKind):
    """A matrix of any size: a summary here, the cells as tiles.

    Source: a tensor. Options: bits (columns of packed rows), row_order / column_order ("#key" of a permutation),
    row_labels / column_labels ("#key" of integers to group by), row_names / column_names (lists), lead_names (names of the
    slices, when there is one more axis), centered, x_label, y_label, unit. `panels` lays several beside each other that
    move together: each has a title, a source ("#key"), and maybe `minus` ("#key" of what is taken away cell by cell).
    """

    @staticmethod
    def read_data(view: View, params: Any) -> dict[str, Any]:
        grid = grid_of(view, params)
        cells = sample_cells(grid)
        levels = find_chosen(view, params).levels
        low, high = _color_range(
            cells.low, cells.high, cells.sample, bool(view.options.get("centered") or grid.minus), grid.mask
        )
        return {
            "rows": grid.shape[0],
            "columns": grid.shape[1],
            "tile": TILE,
            "levels": levels,
            "mask": grid.mask,
            "low": low,
            "high": high,
            "min": cells.low,
            "max": cells.high,
            "mean": cells.mean,
            "differing": float(cells.row_size.mean()) if grid.minus and grid.of_masks else None,
            "broken": cells.broken,
            "lead": list(grid.tensor.shape[:-2]),
            "row_orders": list_orders(view, "row"),
            "column_orders": list_orders(view, "column"),
            "panels": [str(panel.get("title", "")) for panel in panels_of(view)],
            **{key: view.options[key] for key in _SHOWN if key in view.options},
        }


def panels_of(view: View) -> list[dict[str, Any]]:
    """The pictures that a view lays beside each other; none where it is a single matrix."""
    listed = view.options.get("panels")
    return [panel for panel in listed[:PANELS] if isinstance(panel, dict)] if isinstance(listed, list) else []


def grid_of(view: View, params: Any) -> Grid:
    """The matrix of the panel that the address names, or the only one."""
    if isinstance(view, Pair):
        return view.grids()[min(read_whole(params.get("panel", "")), PANELS - 1)]
    panels, number = panels_of(view), read_whole(params.get("panel", ""))
    if number >= max(len(panels), 1):
        raise HTTPException(404, f"The view '{view.name}' has no panel {number}.")
    panel = panels[number] if panels else {}
    tensor = open_tensor(*view.sibling(str(panel["source"])) if "source" in panel else (view.path, view.key))
    lead = [part for part in params.get("lead", "").split(",") if part]
    indices = tuple(read_whole(part, -1) for part in lead[:32]) or (0,) * max(len(tensor.shape) - 2, 0)
    if min(indices, default=0) < 0:
        raise UsageError("A slice is a list of whole numbers.")
    bits = read_whole(view.options.get("bits") or 0)
    minus = panel.get("minus")
    other = Grid(open_tensor(*view.sibling(str(minus))), indices, bits) if minus else None
    return Grid(tensor, indices, bits, other)


@dataclass(frozen=True)
class Mask:
    """A mask that a run shows, alone or as one of several panels."""

    view: View
    panel: int
    title: str

    def grid(self) -> Grid:
        return grid_of(self.view, {"panel": str(self.panel)})


@dataclass(frozen=True)
class Pair(View):
    """The masks of two runs, their difference, and the first less a draw with the densities of the second.

    A view that no run declares; its panels are drawn as those of a run are.
    """

    masks: tuple[Mask, ...] = ()

    def grids(self) -> list[Grid]:
        first_grid, other = (mask.grid() for mask in self.masks)
        return [
            first_grid,
            other,
            replace(first_grid, minus=other),
            replace(first_grid, minus=Grid(Drawn(other))),
        ]


def list_masks(run: RunDir) -> list[Mask]:
    """The masks among the views of a run; one that cannot be read is no mask."""
    listed = []
    for view in views_of(run):
        if not view.is_matrix:
            continue
        panels = panels_of(view) or [{}]
        masks = [
            Mask(view, i, f"{view.name}: {panel['title']}" if "title" in panel else view.name)
            for i, panel in enumerate(panels)
            if "minus" not in panel
        ]
        with suppress(HTTPException, DigsiteError, OSError), refuse_unreadable(view):
            listed += [mask for mask in masks if mask.grid().mask and not mask.grid().lead]
    return listed


def list_pairs(first: RunDir, other: RunDir, titles: Sequence[str]) -> list[Pair]:
    """What can be laid beside each other: masks of one shape, those of one name first; `titles` say which run is which."""
    both = [(a, b) for a in list_masks(first) for b in list_masks(other) if a.grid().shape == b.grid().shape]
    both.sort(key=lambda pair: (pair[0].title != pair[1].title, bool(panels_of(pair[0].view))))
    return [_pair_of(a, b, titles) for a, b in both[:PAIRS]]


def _pair_of(a: Mask, b: Mask, titles: Sequence[str]) -> Pair:
    left, right = titles
    name = a.title if a.title == b.title else f"{a.title} | {b.title}"
    panels = [
        {"title": title}
        for title in (left, right, "first \u2212 second", "first \u2212 null draw of the second")
    ]
    labels = {key: a.view.options[key] for key in ("x_label", "y_label") if key in a.view.options}
    caption = (
        "Red is kept by the first alone, blue by the other alone. The null draw keeps each weight by chance, with the densities "
        "of its row and its column in the second: where the last two pictures are alike, the masks share densities and nothing else."
    )
    return Pair(
        a.view.run, name, "matrix", a.view.source, {"panels": panels, "caption": caption, **labels}, (a, b)
    )


def find_chosen(view: View, params: Any) -> Pyramid:
    """The pyramid in the order that the address asks for; panels stand in the order of the first."""
    grid = grid_of(view, params)
    leading = grid_of(view, {**params, "panel": "0"}) if panels_of(view) else grid
    return find_pyramid(
        grid,
        _read_order(view, leading, params.get("rows", ""), 0),
        _read_order(view, leading, params.get("columns", ""), 1),
    )


def list_orders(view: View, axis: str) -> list[str]:
    declared = [name for name in ("order", "labels") if f"{axis}_{name}" in view.options]
    names = {"order": "given", "labels": "cluster"}
    return ["stored", "size", *(names[d] for d in declared)]


def _read_order(view: View, grid: Grid, name: str, axis: int) -> np.ndarray | None:
    if name in ("", "stored"):
        return None
    size = (sample_cells(grid).row_size, sample_cells(grid).column_size)[axis]
    if name == "size":
        return np.argsort(-size, kind="stable")
    word = ("row", "column")[axis]
    option = view.options.get({"given": f"{word}_order", "cluster": f"{word}_labels"}.get(name, ""))
    if option is None:
        raise HTTPException(400, f"'{name}' is not an order of this view.")
    values = open_tensor(*view.sibling(str(option))).read().ravel()
    if len(values) != grid.shape[axis]:
        raise UsageError(f"'{option}' has {len(values)} entries for {grid.shape[axis]} {word}s.")
    if name == "cluster":  # within a cluster by density
        return np.lexsort((-size, values))
    if not np.array_equal(np.sort(values), np.arange(len(values))):
        raise UsageError(f"'{option}' is not a permutation.")
    return values.astype(np.int64)


def _color_range(
    low: float, high: float, sample: np.ndarray, centered: bool, mask: bool
) -> tuple[float, float]:
    """Colors span the middle 99 % of the cells, so that one outlier does not whiten the rest."""
    if mask or not sample.size:
        return 0.0, 1.0
    near, far = (float(q) for q in np.quantile(sample, [0.005, 0.995]))
    if centered or (low < 0 < high and not near >= 0):
        limit = max(abs(near), abs(far)) or max(abs(low), abs(high)) or 1.0
        return -limit, limit
    return (near, far) if far > near else (low, high if high > low else low + 1.0)
