"""Pictures of the graft room: tables in, Figures out."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from digsite.figures import NULL_COLOR, PALETTE, canvas, curves, heatmap, place_legend, scatter, styled
from digsite.graft.judge.summary import TOLERANCE

KINDS = (
    ("null", "^null_|^random_"),
    ("no image of the new class", "^[wsau]+$"),
    ("the donor's new-class images", "b"),
    ("labelled new-class images", "[kF]"),
)


COLORS = (NULL_COLOR, *PALETTE[:3])
RANKED = 14  # methods in the ranking


def _find_kind(row: pd.Series) -> int:
    """The place in `KINDS` of a row: a null, or what the method was allowed to see of the new class."""
    if str(row["method"]).startswith(("null_", "random_")):
        return 0
    letters = str(row["budget"])
    return 3 if set("kF") & set(letters) else 2 if "b" in letters else 1


def _measure_reach(part: pd.DataFrame, key: str) -> np.ndarray:
    """Distances from the mean to both ends of its interval."""
    return np.abs(np.stack([part[key] - part[f"{key}_low"], part[f"{key}_high"] - part[key]]))


@styled
def draw_plane(table: pd.DataFrame, title: str, prefix: str = "calibrated_") -> Figure:
    """All methods on the plane, colored by what they were allowed to see; beside it those that keep the old classes.

    `prefix` is 'calibrated_' for the numbers at equal false alarms, on which verdicts rest, or '' for the raw ones.
    """
    figure, _ = canvas(width=9.6, height=4.6)
    figure.clear()
    plane, ranks = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_plane(plane, table, prefix)
    plane.set_title(title)
    _draw_ranking(ranks, table, prefix)
    return figure


def _draw_plane(ax: Axes, table: pd.DataFrame, prefix: str) -> None:
    """Transfer against preservation with intervals, a color for every kind of budget."""
    kinds = table.apply(_find_kind, axis=1)
    across, up = f"{prefix}transfer", f"{prefix}preservation"
    for kind, (label, _) in enumerate(KINDS):
        part = pd.DataFrame(table[kinds == kind])
        if part.empty:
            continue
        x, y = (_measure_reach(part, key) for key in (across, up))
        _, _, bars = ax.errorbar(
            part[across], part[up], xerr=x, yerr=y, fmt="o", ms=4, lw=0.6, color=COLORS[kind], label=label
        )
        for bar in bars:
            bar.set_alpha(0.35)
    ax.set(xlabel="transfer (% of new-class images)", ylabel="preservation (% of old-class images)")
    ax.set_xlim(-3, 103)
    ax.set_ylim(max(0.0, float(np.min(table[up])) - 3), 101)
    place_legend(ax, fontsize=7)


def _draw_ranking(ax: Axes, table: pd.DataFrame, prefix: str) -> None:
    """The best by transfer, and the best null for comparison."""
    across, up = f"{prefix}transfer", f"{prefix}preservation"
    kept = pd.DataFrame(table[table[up] >= table[up].max() - TOLERANCE])
    ranked = kept.sort_values(across)
    null = ranked.apply(_find_kind, axis=1) == 0
    best = pd.DataFrame(pd.concat([ranked[null].tail(1), ranked[~null].tail(RANKED)]))
    heights = np.arange(len(best))
    for i, (_, row), reach in zip(heights, best.iterrows(), _measure_reach(best, across).T):
        ax.errorbar(row[across], i, xerr=reach[:, None], fmt="o", ms=4, lw=1, color=COLORS[_find_kind(row)])
    ax.set_yticks(heights, list(best["method"]), fontsize=7)
    ax.set_xlim(max(0.0, float(np.min(best[across])) - 5), 102)
    ax.set(xlabel="transfer (%)")
    ax.set_title(f"methods within {TOLERANCE:g} points\nof the best preservation", fontsize=8)


@styled
def draw_cost(table: pd.DataFrame, title: str) -> Figure:
    """Added parameters against calibrated transfer, the null as a line."""
    figure, ax = canvas(width=6.4, height=4.2)
    kinds = table.apply(_find_kind, axis=1)
    for kind, (label, _) in enumerate(KINDS):
        part = table[kinds == kind]
        if not part.empty:
            x, y = part["added_parameters"], part["calibrated_transfer"]
            ax.scatter(x, y, s=18, color=COLORS[kind], label=label)
    ax.axhline(float(np.mean(table["null_transfer"])), color=NULL_COLOR, linestyle="--", linewidth=1)
    ax.set_xscale("symlog", linthresh=100)
    ax.set(xlabel="added parameters", ylabel="calibrated transfer (%)", title=title)
    place_legend(ax, fontsize=7)
    return figure


def draw_ceiling(ceiling: pd.DataFrame, title: str) -> Figure:
    """By depth: the ceiling of any head, and what shared images let one guess of it."""
    layer = ceiling["layer"].to_numpy()
    series = {
        "ceiling, calibrated transfer": (layer, ceiling["ceiling"].to_numpy()),
        "AUC new against foreign": (layer, ceiling["auc"].to_numpy()),
        "explained of the donor's last layer": (layer, ceiling["map_r2"].to_numpy()),
    }
    figure = curves(
        series, x="hidden layer of the receiver", y="%", title=f"{title}: where the new class can be read"
    )
    figure.axes[0].set_xticks(layer)
    return figure


@styled
def draw_confusions(matrices: Mapping[str, np.ndarray], class_names: Sequence[str] = ()) -> Figure:
    """Small multiples: true class by called class, as far as a class is called at all; classes by name where they have one."""
    n = max(1, len(matrices))
    figure, _ = canvas(width=2.4 * min(n, 3), height=2.5 * -(-n // 3))
    figure.clear()
    called = np.flatnonzero(sum(matrix.sum(axis=0) for matrix in matrices.values()))
    for i, (name, matrix) in enumerate(matrices.items()):
        ax = figure.add_subplot(-(-n // 3), min(n, 3), i + 1)
        names = list(class_names) if len(class_names) == len(matrix) else [str(c) for c in range(len(matrix))]
        heatmap(
            matrix[:, called],
            x="called",
            y="true",
            title=name,
            unit="%",
            ticks_x=[names[c] for c in called],
            ticks_y=names,
            ax=ax,
        )
        ax.title.set_fontsize(7)
        if max(map(len, names)) > 2:  # words stand upright, or they would lie on each other
            ax.tick_params(axis="x", rotation=90)
    return figure


@styled
def draw_concept_space(points: Mapping[str, Tensor], new: Sequence[int], method: str) -> Figure:
    """Features before and after a graft; the new class in color, the others in gray shades."""
    figure, _ = canvas(width=8.0, height=3.8)
    figure.clear()
    y = points["y"].numpy()
    for i, when in enumerate(("before", "after")):
        ax = figure.add_subplot(1, 2, i + 1)
        for j, c in enumerate(sorted(set(y.tolist()))):
            part = points[when].numpy()[y == c]
            ax.scatter(
                part[:, 0],
                part[:, 1],
                s=6,
                alpha=0.6,
                color=PALETTE[j % len(PALETTE)],
                label=f"{c} (new)" if c in new else str(c),
            )
        ax.set(xlabel="first axis", ylabel="second axis", title=f"{when} {method}")
        place_legend(ax, fontsize=6, markerscale=2)
    return figure


def draw_detection(table: pd.DataFrame) -> Figure:
    """AUROC of grafted rows by layer, one line per way of planting; 50 is chance."""
    cases = table.groupby("case", sort=False)
    series = {str(case): (part["layer"].to_numpy(), part["auroc"].to_numpy()) for case, part in cases}
    figure = curves(
        series, x="hidden layer", y="AUROC (%)", title="Grafted rows from weights alone", nulls=["control"]
    )
    figure.axes[0].axhline(50, color=NULL_COLOR, linestyle=":", linewidth=1)
    figure.axes[0].set_xticks(sorted(set(table["layer"])))
    return figure


def draw_survival(table: pd.DataFrame, x: str, label: str) -> Figure:
    """Transfer of each method as the network is pruned or coarsened."""
    series = {
        str(m): (p[x].to_numpy(), p["transfer"].to_numpy()) for m, p in table.groupby("method", sort=False)
    }
    return curves(series, x=label, y="transfer (%)", title="Does the graft live through it?")


def draw_published(table: pd.DataFrame) -> Figure:
    """Steps of the published protocol: what was printed against what they give; `table` has a line per pair and step."""
    known = table[table["published_transfer"].notna()]
    groups = {
        f"{pair}": (part["published_transfer"].astype(float), part["transfer"].astype(float))
        for pair, part in known.groupby("pair", sort=False)
    }
    return scatter(groups, x="published transfer (%)", y="transfer here (%)", diagonal=True)


@styled
def draw_alignment(table: pd.DataFrame, numbers: Mapping[str, str], kinds: Mapping[str, str]) -> Figure:
    """One panel per number, one column of points per pair; donor and blind donor in color, wrong pairings gray."""
    pairs = list(dict.fromkeys(table["pair"]))
    figure, axes = canvas(2, 3, width=9.0, height=5.4)
    colors = dict(zip(kinds, (PALETTE[0], PALETTE[1], NULL_COLOR)))
    for ax, (number, title) in zip(axes.flat, numbers.items(), strict=True):
        for k, (kind, label) in enumerate(kinds.items()):
            part = table[table["kind"] == kind]
            at = part["pair"].map(pairs.index) + 0.22 * (k - 1)
            ax.scatter(at, part[number], s=14, color=colors[kind], label=label, alpha=0.8)
        ax.set_xticks(range(len(pairs)), pairs, fontsize=7)
        ax.set_xlim(-0.5, len(pairs) - 0.5)
        ax.set_title(title, fontsize=7)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7)
    return figure


def draw_dictionaries(table: pd.DataFrame) -> Figure:
    """Sparse autoencoders on the plane of how many codes are open and how much they explain; one color per kind."""
    groups = {
        str(kind): (part["open_codes"], 100 * part["explained"])
        for kind, part in table.groupby("kind", sort=False)
    }
    return scatter(groups, x="codes open on average", y="explained of held-out features (%)")
