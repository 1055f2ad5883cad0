"""The plain plots that every room draws: numbers in, Figure out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from digsite.base.contract import public_method
from digsite.figures.style import NULL_COLOR, PALETTE, SAMPLED, canvas, count_in_corners, place_legend, styled

STROKES = ("-", "--", ":")  # of lines that have to share a color
MOST_IN_CORNER = 12  # names of lines that a corner of the axes has room for

Band = tuple[ArrayLike, ArrayLike]


@public_method()
@styled
def curves(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    x: str,
    y: str,
    title: str = "",
    bands: Mapping[str, Band] | None = None,
    nulls: Sequence[str] = (),
    log_x: bool = False,
    log_y: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """Lines with optional bands; the names in `nulls` are drawn gray and dashed.

    `series` are (xs, ys) by name, `bands` (lows, highs) by the same names, `x` and `y` the labels of the axes;
    `ax` draws into a panel of a larger figure.

    `title` stands above; `log_x` and `log_y` make an axis logarithmic.
    """
    figure, ax = _given_axes(ax)
    for i, (name, (xs, ys)) in enumerate(series.items()):
        look: dict[str, Any] = {"linestyle": STROKES[i // len(PALETTE) % len(STROKES)]}  # colors come again
        if name in nulls:
            look = {"color": NULL_COLOR, "linestyle": "--"}
        (line,) = ax.plot(np.asarray(xs), np.asarray(ys), label=name, **look)
        if bands and name in bands:
            low, high = bands[name]
            ax.fill_between(
                np.asarray(xs),
                np.asarray(low),
                np.asarray(high),
                color=line.get_color(),
                alpha=0.18,
                linewidth=0,
            )
    ax.set(xlabel=x, ylabel=y, title=title)
    if log_x:
        ax.set_xscale("log")
    if log_y:
        ax.set_yscale("log")
    _legend_if(ax, len(series))
    return figure


@public_method()
@styled
def heatmap(
    matrix: ArrayLike,
    *,
    x: str,
    y: str,
    title: str = "",
    unit: str = "",
    cmap: str | None = None,
    centered: bool = False,
    ticks_x: Sequence[str] | None = None,
    ticks_y: Sequence[str] | None = None,
    numbers: str = "",
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A matrix with its color scale; `centered` puts white at zero, `numbers` is the format of a value in each cell.

    `matrix` (rows, columns), `unit` beside the color scale, `ticks_x` and `ticks_y` names instead of numbers, `limits` the ends of
    the color scale where the values' own say nothing, as for shares.

    `x` and `y` label the axes, `title` stands above, `cmap` is one of matplotlib's; `ax` draws into a panel of
    a larger figure.
    """
    values = np.asarray(matrix, dtype=float)
    figure, ax = _given_axes(ax, height=4.0)
    limit = float(np.nanmax(np.abs(values))) if centered and values.size else None
    low, high = limits or (-limit if limit else None, limit or None)
    image = ax.imshow(
        values, aspect="auto", cmap=cmap or ("RdBu_r" if centered else None), vmin=low, vmax=high
    )
    ax.set(xlabel=x, ylabel=y, title=title)
    ax.grid(False)
    if ticks_x is not None:
        ax.set_xticks(
            range(len(ticks_x)), list(ticks_x), rotation=45 if max(map(len, ticks_x)) > 4 else 0, ha="right"
        )
    if ticks_y is not None:
        ax.set_yticks(range(len(ticks_y)), list(ticks_y))
    if numbers:
        _write_numbers(image, values, numbers, ax)
    figure.colorbar(image, ax=ax, label=unit, shrink=0.9)
    return figure


def _write_numbers(image: AxesImage, values: np.ndarray, style: str, ax: Axes) -> None:
    """Each value in its cell, dark on light and light on dark; a hole stays empty."""
    shades = image.to_rgba(values)[..., :3] @ np.array([0.299, 0.587, 0.114])
    size = max(5.0, 9.0 - 0.25 * max(values.shape))
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "black" if shades[row, column] > 0.5 else "white"
            ax.text(column, row, format(value, style), ha="center", va="center", fontsize=size, color=color)


@public_method()
@styled
def bars(
    values: Mapping[str, float],
    *,
    y: str,
    title: str = "",
    lows: Mapping[str, float] | None = None,
    highs: Mapping[str, float] | None = None,
    nulls: Mapping[str, float] | None = None,
    null_label: str = "null",
    gray: Sequence[str] = (),
    ax: Axes | None = None,
) -> Figure:
    """Bars with intervals; a gray tick marks each bar's null, and bars named in `gray` are nulls themselves.

    `values` by name; `lows` and `highs` are ends of intervals, not lengths of error bars.

    `y` labels the axis, `title` the figure, `null_label` names the gray ticks; `ax` draws into a panel of a
    larger figure.
    """
    names = list(values)
    figure, ax = _given_axes(ax, width=max(4.0, 1.6 + 0.55 * len(names)))
    heights = np.array([values[name] for name in names], dtype=float)
    colors = [NULL_COLOR if name in gray else PALETTE[0] for name in names]
    ax.bar(range(len(names)), heights, width=0.62, zorder=2, color=colors)
    if lows and highs:
        low, high = (np.array([side.get(n, values[n]) for n in names], dtype=float) for side in (lows, highs))
        error = np.abs(np.stack([heights - low, high - heights]))
        style = {"fmt": "none", "ecolor": "black", "elinewidth": 1, "capsize": 3, "zorder": 3}
        ax.errorbar(range(len(names)), heights, yerr=error, **style)
    if nulls:
        at = [i for i, name in enumerate(names) if name in nulls]
        ax.hlines(
            [nulls[names[i]] for i in at],
            [i - 0.4 for i in at],
            [i + 0.4 for i in at],
            color=NULL_COLOR,
            linewidth=2.2,
            label=null_label,
            zorder=4,
        )
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0))  # above: no corner is sure to be free of bars
    ax.set_xticks(
        range(len(names)),
        names,
        rotation=35 if len(names) > 4 else 0,
        ha="right" if len(names) > 4 else "center",
    )
    ax.set(ylabel=y, title=title)
    ax.grid(axis="x", visible=False)
    return figure


@public_method()
@styled
def histogram(
    samples: Mapping[str, ArrayLike],
    *,
    x: str,
    y: str = "count",
    title: str = "",
    bins: int = 40,
    log_y: bool = False,
    nulls: Sequence[str] = (),
    ax: Axes | None = None,
) -> Figure:
    """Step histograms on shared bins.

    `samples` by name, `bins` of equal width over all of them, so that heights can be compared.

    `x` and `y` label the axes, `title` stands above, `log_y` makes counts logarithmic, `nulls` are names drawn
    gray; `ax` draws into a panel.
    """
    figure, ax = _given_axes(ax)
    edges = np.histogram_bin_edges(
        np.concatenate([np.ravel(np.asarray(v)) for v in samples.values()]), bins=bins
    )
    for name, values in samples.items():
        look: dict[str, Any] = {"color": NULL_COLOR, "linestyle": "--"} if name in nulls else {}
        ax.hist(
            np.ravel(np.asarray(values)),
            bins=list(edges),
            histtype="step",
            linewidth=1.5,
            label=name,
            log=log_y,
            **look,
        )
    ax.set(xlabel=x, ylabel=y, title=title)
    _legend_if(ax, len(samples))
    return figure


@public_method()
@styled
def scatter(
    groups: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    x: str,
    y: str,
    title: str = "",
    diagonal: bool = False,
    nulls: Sequence[str] = (),
    ax: Axes | None = None,
) -> Figure:
    """Points by group; `diagonal` adds the line of equality.

    `groups` are (xs, ys) by name.

    `x` and `y` label the axes, `title` stands above, `nulls` are names drawn gray; `ax` draws into a panel of a
    larger figure.
    """
    figure, ax = _given_axes(ax, height=4.0)
    for name, (xs, ys) in groups.items():
        look: dict[str, Any] = {"color": NULL_COLOR, "marker": "x"} if name in nulls else {"marker": "o"}
        ax.scatter(np.asarray(xs), np.asarray(ys), s=16, alpha=0.75, linewidth=0.6, label=name, **look)
    if diagonal:
        ax.axline((0, 0), slope=1, color=NULL_COLOR, linewidth=1, linestyle="--")
    ax.set(xlabel=x, ylabel=y, title=title)
    _legend_if(ax, len(groups))
    return figure


def _given_axes(ax: Axes | None, *, width: float = 6.0, height: float = 3.4) -> tuple[Figure, Axes]:
    """A panel that was handed over, or a figure of one's own."""
    if ax is None:
        return canvas(width=width, height=height)
    figure = ax.figure
    assert isinstance(figure, Figure)
    return figure, ax


def _legend_if(ax: Axes, n: int) -> None:
    """One line needs no legend; more than fit into a corner, or where no corner is free, stand beside the axes."""
    is_alone = len(ax.figure.axes) == 1  # beside a panel stands the next one
    crowded = is_alone and n > 1 and min(count_in_corners(ax).values()) > SAMPLED // 4
    if n > MOST_IN_CORNER or crowded:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), ncols=1 + n // 20)
    elif n > 1:
        place_legend(ax, ncols=1 + n // 7)
