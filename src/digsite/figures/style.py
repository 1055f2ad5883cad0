"""One look for every figure: drawn without a screen, readable in print, safe for color-blind eyes."""

import base64
import io
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from digsite.base import atomic
from digsite.base.contract import public_method

matplotlib.use("Agg")

import numpy as np
from cycler import cycler
from matplotlib.axes import Axes

# Okabe and Ito's palette, ordered so that the first colors differ most in lightness too.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")
NULL_COLOR = "#9A9A9A"  # chance, baselines and shuffled controls are always this gray
SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"

RC: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=PALETTE),
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "image.cmap": SEQUENTIAL,
    "image.interpolation": "nearest",
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "svg.hashsalt": "digsite",  # the same figure gives the same bytes
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}


@public_method()
def canvas(
    rows: int = 1, columns: int = 1, *, width: float = 6.0, height: float = 3.4, **options: Any
) -> tuple[Figure, Any]:
    """A figure in our style and its axes, sized in inches for the whole figure.

    `options` go to `plt.subplots`.

    `rows` and `columns` of panels, `width` and `height` in inches.
    """
    with plt.rc_context(RC):
        figure, axes = plt.subplots(rows, columns, figsize=(width, height), **options)
    plt.close(figure)  # the figure lives on, pyplot forgets it: nothing piles up in long runs
    return figure, axes


def styled(function: Any) -> Any:
    """For functions that draw on given axes: legends, texts and ticks made inside follow the style.

    `function` draws and may be called with `ax=`.
    """
    from functools import wraps

    @wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        with plt.rc_context(RC):
            return function(*args, **kwargs)

    return inner


CORNERS = {"upper right": (1, 1), "upper left": (0, 1), "lower right": (1, 0), "lower left": (0, 0)}
REACH = 0.42  # of the axes' width and height that a legend may take in its corner
SAMPLED = 200  # points of each artist that are looked at: the time does not grow with the data


def quiet_corner(ax: Axes) -> str:
    """The corner of the axes with the least drawn in it."""
    crowds = count_in_corners(ax)
    return min(crowds, key=crowds.__getitem__)


def count_in_corners(ax: Axes) -> dict[str, int]:
    """How much is drawn in each corner, in points of which an artist has at most `SAMPLED`.

    Matplotlib's own search for the best place looks at every point, and on a busy machine it warns that it takes long:
    then a figure would depend on how fast the machine is.
    """
    ax.autoscale_view()
    to_axes = ax.transData + ax.transAxes.inverted()
    drawn = [
        _points_along(np.asarray(line.get_xydata(), dtype=float))
        for line in ax.lines
        if line.get_transform() == ax.transData
    ]
    for area in ax.collections:
        offsets = np.asarray(area.get_offsets(), dtype=float)
        drawn += [offsets] if len(offsets) > 1 else [np.asarray(path.vertices) for path in area.get_paths()]
    for bar in ax.patches:
        box = (
            bar.get_path().vertices
            if not hasattr(bar, "get_bbox")
            else np.asarray(bar.get_bbox().get_points())
        )
        (left, low), (right, high) = box.min(0), box.max(0)
        drawn.append(np.array([[x, y] for x in (left, right) for y in np.linspace(low, high, 5)]))
    thin = [points[:: max(1, len(points) // SAMPLED)] for points in drawn if len(points)]
    if not thin:
        return dict.fromkeys(CORNERS, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        at = to_axes.transform(np.concatenate(thin))
    at = at[np.isfinite(at).all(1)]

    return {
        corner: int(((np.abs(at[:, 0] - x) < REACH) & (np.abs(at[:, 1] - y) < REACH)).sum())
        for corner, (x, y) in CORNERS.items()
    }


def _points_along(points: np.ndarray) -> np.ndarray:
    """Points on a line with few corners, so that what it crosses counts and not only where it bends."""
    if not 1 < len(points) < SAMPLED:
        return points
    at = np.linspace(0, len(points) - 1, SAMPLED)
    return np.stack([np.interp(at, np.arange(len(points)), column) for column in points.T], 1)


@public_method()
def place_legend(ax: Axes, *handles: Any, **options: Any) -> None:
    """A legend in the quietest corner; `handles` and `options` as `Axes.legend` takes them.

    `ax` is the panel; what is already drawn on it decides.
    """
    ax.legend(*handles, **{"loc": quiet_corner(ax), **options})


# Fixed metadata: a resumed run draws the same bytes as an uninterrupted one.
_METADATA = {"png": {"Software": "digsite"}, "svg": {"Date": None, "Creator": "digsite"}}


@public_method()
def save_figure(figure: Figure, path: Path, *, caption: str = "") -> None:
    """Write `path`.png and `path`.svg; the caption goes to `path`.txt, where reports find it.

    `figure` is closed afterwards. PNG and SVG carry fixed metadata, so the same numbers give the same bytes.
    """
    with plt.rc_context(RC):
        for kind, metadata in _METADATA.items():
            with atomic.replace_file(path.with_name(f"{path.name}.{kind}")) as temporary:
                figure.savefig(temporary, format=kind, metadata=metadata)
    if caption:
        atomic.write_text(path.with_name(f"{path.name}.txt"), caption + "\n")
    plt.close(figure)


# What objects show of themselves in a notebook: a title, a few facts, a picture.
def notebook_card(title: str, facts: Mapping[str, Any], figure: Figure | None = None) -> str:
    """HTML without scripts or styles of its own, so that it looks at home in every notebook.

    `facts` are shown as a table of two columns, `figure` below it.
    """
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
    picture = f'<img alt="{escape(title)}" src="{figure_uri(figure)}">' if figure else ""
    return f"<div><p><b>{escape(title)}</b></p><table>{rows}</table>{picture}</div>"


def figure_uri(figure: Figure) -> str:
    """The picture inside of the HTML, so that a saved notebook needs no file beside it."""
    buffer = io.BytesIO()
    with plt.rc_context(RC):
        figure.savefig(buffer, format="png", dpi=100, metadata={"Software": "digsite"})
    plt.close(figure)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
