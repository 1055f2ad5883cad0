"""The room's pictures: neighborhoods in clusters, densities, and numbers beside their nulls."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from digsite.figures import NULL_COLOR, PALETTE, canvas, heatmap, place_legend, styled
from digsite.prune.core.clusters import FeatureClusters
from digsite.prune.judge.groups import BY, MEASURES, GroupMean

BORDER = "#D00000"
SHOWN = ("separation", "hamming nearest", "margins' share of variance")


@styled
def cluster_sheet(
    bits: np.ndarray, clusters: FeatureClusters, points: np.ndarray, reference: np.ndarray, title: str
) -> Figure:
    """Four views of one clustering: sorted spy plot, sizes and cohesion, t-SNE, distances between clusters."""
    figure, axes = canvas(2, 2, width=9.0, height=7.0)
    (spy, sizes), (scatter, block) = axes
    _draw_spy(spy, bits, clusters.labels)
    _draw_sizes(sizes, clusters, reference)
    for label in np.unique(clusters.labels):
        chosen = clusters.labels == label
        scatter.scatter(
            *points[chosen].T, s=12, color=PALETTE[label % len(PALETTE)], marker="osD^"[label // 8 % 4]
        )
    scatter.set(xlabel="t-SNE 1", ylabel="t-SNE 2", title="neighborhood, by cluster")
    numbers = ".1f" if len(clusters.metrics.sizes) <= 16 else ""  # beyond, cells are too small to be read
    heatmap(
        clusters.metrics.block,
        x="cluster",
        y="cluster",
        title="mean distance",
        unit="positions",
        numbers=numbers,
        ax=block,
    )
    block.xaxis.set_major_locator(MaxNLocator(integer=True))
    block.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    return figure


def _draw_spy(ax: Axes, bits: np.ndarray, labels: np.ndarray) -> None:
    """Kept weights, features in the order of their clusters."""
    order = np.argsort(labels, kind="stable")
    ax.imshow(bits[order], aspect="auto", cmap="Greys", interpolation="none", rasterized=True)
    for edge in np.flatnonzero(np.diff(labels[order])) + 0.5:
        ax.axhline(edge, color=BORDER, linewidth=0.9)
    ax.set(xlabel="position", ylabel="feature, sorted by cluster", title="kept weights (black)")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(False)


def _draw_sizes(ax: Axes, clusters: FeatureClusters, reference: np.ndarray) -> None:
    """Beside each other, because a cohesion of two features means little."""
    sizes, cohesion = clusters.metrics.sizes, np.asarray(clusters.metrics.cohesion)
    ax.bar(range(len(sizes)), sizes, color=PALETTE[0], width=0.6)
    ax.set(xlabel="cluster", ylabel="features", title="sizes, and mean distance inside (points)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    twin = ax.twinx()
    twin.plot(range(len(sizes)), cohesion, "o", color=PALETTE[1])
    twin.axhline(float(reference.mean()), color=NULL_COLOR, linestyle="--", linewidth=1)
    twin.set_ylabel("distance inside (gray: all pairs)")
    twin.grid(False)


@styled
def separation_curves(
    k_values: Sequence[int],
    observed: tuple[Sequence[float], Sequence[float], Sequence[float]],
    nulls: Mapping[str, np.ndarray],
    within: Sequence[float],
    between: Sequence[float],
) -> Figure:
    """Ratio over k with error bars beside the nulls' 95 % range; distances within and between over k."""
    figure, (left, right) = canvas(1, 2, width=9.0, height=3.4)
    mean, low, high = (np.asarray(values, dtype=float) for values in observed)
    for position, (name, drawn) in enumerate(nulls.items()):
        edges = np.quantile(drawn, [0.025, 0.975], axis=0)
        left.fill_between(k_values, *edges, color=NULL_COLOR, alpha=0.25 + 0.12 * position, linewidth=0)
        left.plot(
            k_values,
            drawn.mean(axis=0),
            color=NULL_COLOR,
            linestyle=("--", ":", "-.")[position % 3],
            label=name,
        )
    error = np.nan_to_num(np.abs(np.stack([mean - low, high - mean])))
    left.errorbar(k_values, mean, yerr=error, marker="o", capsize=3, label="mask")
    left.set(xlabel="clusters k", ylabel="between / within", title="separation ratio")
    place_legend(left)
    right.plot(k_values, within, "o-", label="within")
    right.plot(k_values, between, "s-", label="between")
    right.set(xlabel="clusters k", ylabel="Hamming distance (positions)", title="distances over pairs")
    right.margins(y=0.3)  # the two lines cross every corner, so the legend stands above them
    place_legend(right)
    for ax in (left, right):
        ax.set_xticks(list(k_values))
    return figure


@styled
def mask_pair(masks: Sequence[np.ndarray], titles: Sequence[str]) -> Figure:
    """Two masks, their difference, and the first one's difference from a null draw, in one frame each.

    `masks` are the two and the draw; `titles` name the four pictures.
    """
    first, other, null = (keep.astype(np.int8) for keep in masks)
    figure, axes = canvas(2, 2, width=9.0, height=7.4)
    shown = (
        (first, "Greys", 0),
        (other, "Greys", 0),
        (first - other, "RdBu_r", -1),
        (first - null, "RdBu_r", -1),
    )
    for ax, (cells, colors, low), title in zip(axes.flat, shown, titles, strict=True):
        ax.imshow(cells, aspect="auto", cmap=colors, vmin=low, vmax=1, rasterized=True)
        ax.set(xlabel="input", ylabel="output", title=title)
        ax.grid(False)
    return figure


@styled
def density_picture(keep: np.ndarray, name: str) -> Figure:
    """How full rows and columns are, beside what coin flips of the same density spread to."""
    figure, axes = canvas(1, 2, width=9.0, height=3.2)
    density = keep.mean()
    for ax, axis, title in ((axes[0], 1, "rows (outputs)"), (axes[1], 0, "columns (inputs)")):
        values, n = keep.mean(axis=axis), keep.shape[axis]
        ax.hist(values, bins=40, histtype="step", linewidth=1.5)
        half = 1.96 * np.sqrt(density * (1 - density) / n)
        ax.axvspan(density - half, density + half, color=NULL_COLOR, alpha=0.3, label="95 % of coin flips")
        ax.set(xlabel="share of weights kept", ylabel="count", title=title)
        place_legend(ax)
    figure.suptitle(name)
    return figure


Z_ROWS = 36  # masks in a column of the chart


@styled
def z_chart(labels: Sequence[str], z: Sequence[float], is_found: Sequence[bool], title: str = "") -> Figure:
    """z against same margins; filled where the false discovery rate allows to call it structure. Many masks stand in columns."""
    n_columns = -(-len(labels) // Z_ROWS)
    rows = -(-len(labels) // n_columns)
    figure, axes = canvas(1, n_columns, width=0.6 + 5.8 * n_columns, height=1.2 + 0.26 * rows)
    for column, ax in enumerate(np.atleast_1d(np.asarray(axes)).flat):
        own = slice(column * rows, (column + 1) * rows)
        at = rows - 1 - np.arange(len(labels[own]))
        ax.axvspan(-1.96, 1.96, color=NULL_COLOR, alpha=0.25)
        colors = [PALETTE[1] if hit else NULL_COLOR for hit in is_found[own]]
        ax.barh(at, z[own], color=colors, height=0.6)
        ax.set_yticks(at, list(labels[own]))
        spread = [0.0, *z]
        ax.set(xlim=(min(spread) - 0.5, max(spread) + 0.5), ylim=(-0.8, rows - 0.2))
        ax.set(xlabel="z against masks with the same margins (gray: chance)", title="" if column else title)
        ax.grid(axis="y", visible=False)
    return figure


@styled
def group_means(means: Sequence[GroupMean], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Each measure by method (above) and by projection (below); a gray point is a mask."""
    figure, axes = canvas(len(BY), len(SHOWN), width=3.1 * len(SHOWN), height=6.0)
    for line, (by, word) in zip(axes, BY.items(), strict=True):
        for ax, measure in zip(line, SHOWN, strict=True):
            own = [mean for mean in means if (mean.by, mean.measure) == (by, measure)]
            for at, mean in enumerate(own):
                values = [row[measure] for row in rows if str(row[by]) == mean.group]
                ax.plot([at] * len(values), values, ".", color=NULL_COLOR, markersize=5)
                ends = (
                    mean.mean if mean.low is None else mean.low,
                    mean.mean if mean.high is None else mean.high,
                )
                ax.plot([at, at], ends, color=PALETTE[0])
                ax.plot(at, mean.mean, "o", color=PALETTE[0])
            short = [mean.group.rpartition(".")[2] for mean in own]
            ax.set_xticks(range(len(own)), short, rotation=30, ha="right")
            ax.set(ylabel=MEASURES[measure], title=f"by {word}", xlim=(-0.5, len(own) - 0.5))
    return figure


@styled
def quality_curves(table: pd.DataFrame, dense: float, unit: str) -> Figure:
    """Loss of each method at each level, with intervals; the dense model is the gray line."""
    levels = list(dict.fromkeys(table["level"]))
    methods = list(dict.fromkeys(table["method"]))
    if len(levels) == 1:
        return _loss_rows(table.sort_values("loss", ascending=False), dense, unit)
    figure, ax = canvas(width=7.2, height=3.8)
    for position, method in enumerate(methods):
        part = table[table["method"] == method].set_index("level").reindex(levels)
        at = np.arange(len(levels)) + (position - (len(methods) - 1) / 2) * 0.1
        error = np.nan_to_num(np.abs(np.stack([part["loss"] - part["low"], part["high"] - part["loss"]])))
        ax.errorbar(
            at, part["loss"], yerr=error, fmt="osD^vP*X"[position % 8], capsize=2, markersize=5, label=method
        )
    ax.axhline(dense, color=NULL_COLOR, linestyle="--", label="dense")
    ax.set_xticks(range(len(levels)), levels)
    ax.set(xlabel="share pruned, or n:m", ylabel=unit)
    ax.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))  # nine entries leave no corner free
    return figure


def _loss_rows(table: pd.DataFrame, dense: float, unit: str) -> Figure:
    """One level: a row for each method under its name, the lowest loss on top."""
    figure, ax = canvas(width=7.2, height=1.0 + 0.3 * len(table))
    at = np.arange(len(table))
    error = np.nan_to_num(np.abs(np.stack([table["loss"] - table["low"], table["high"] - table["loss"]])))
    ax.errorbar(table["loss"], at, xerr=error, fmt="o", capsize=2, markersize=5, color=PALETTE[0])
    ax.axvline(dense, color=NULL_COLOR, linestyle="--")
    ax.annotate(
        "dense", (dense, 1), (3, -2), xycoords=("data", "axes fraction"), textcoords="offset points", va="top"
    )
    ax.set_yticks(at, list(table["method"]))
    ax.set(xlabel=f"{unit} at {table['level'].iloc[0]}", ylim=(-0.6, len(table) - 0.2))
    return figure


@styled
def stacked_shares(labels: Sequence[str], shares: pd.DataFrame) -> Figure:
    """One bar per mask, split into what explains it; the unexplained rest is gray."""
    figure, ax = canvas(width=7.2, height=1.4 + 0.24 * len(labels))
    at, left = np.arange(len(labels))[::-1], np.zeros(len(labels))
    for position, name in enumerate(shares):
        color = NULL_COLOR if name == "residual" else PALETTE[position]
        ax.barh(at, shares[name], left=left, color=color, label=str(name), height=0.7)
        left += shares[name].to_numpy()
    ax.set_yticks(at, list(labels))
    ax.set(xlabel="share of the mask's variance", xlim=(0, 1))
    ax.grid(axis="y", visible=False)
    ax.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    return figure
