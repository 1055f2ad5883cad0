"""Pictures of the graft room: tables in, Figures out."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from digsite.figures import NULL_COLOR, PALETTE, canvas, curves, heatmap, styled
from digsite.graft.summary import TOLERANCE

KINDS = (
    ("null", "^null_|^random_"),
    ("no image of the new class", "^[wsau]+$"),
    ("the donor's new-class images", "b"),
    ("labelled new-class images", "[kF]"),
)


def _kind(row: pd.Series) -> int:
    if str(row["method"]).startswith(("null_", "random_")):
        return 0
    letters = str(row["budget"])
    return 3 if set("kF") & set(letters) else 2 if "b" in letters else 1


def _reach(part: pd.DataFrame, key: str) -> np.ndarray:
    """Distances from the mean to both ends of its interval."""
    return np.abs(np.stack([part[key] - part[f"{key}_low"], part[f"{key}_high"] - part[key]]))


@styled
def transfer_against_preservation(table: pd.DataFrame, title: str) -> Figure:
    """One point per method with its intervals, colored by what it was allowed to see."""
    figure, ax = canvas(width=7.0, height=4.6)
    kinds = table.apply(_kind, axis=1)
    colors = [NULL_COLOR, *PALETTE[:3]]
    for kind, (label, _) in enumerate(KINDS):
        part = pd.DataFrame(table[kinds == kind])
        if part.empty:
            continue
        x, y = (_reach(part, key) for key in ("transfer", "preservation"))
        ax.errorbar(part["transfer"], part["preservation"], xerr=x, yerr=y, fmt="o", ms=4,
                    lw=0.7, color=colors[kind], label=label)  # fmt: skip
    kept = table["preservation"] >= table["preservation"].max() - TOLERANCE
    best = pd.DataFrame(table[(kinds == 1) & kept]).nlargest(6, "transfer")
    lines = [f"{t:5.1f}  {m}" for m, t in zip(best["method"], best["transfer"])]
    ax.text(0.5, 0.5, "best without an image of the new class\n" + "\n".join(lines), transform=ax.transAxes,
            fontsize=7, family="monospace", va="center", ha="center")  # fmt: skip
    ax.set(
        xlabel="transfer (% of new-class images)", ylabel="preservation (% of old-class images)", title=title
    )
    ax.set_xlim(-3, 103)
    ax.set_ylim(max(0, min(100, table["preservation"].min()) - 3), 101)
    ax.legend(loc="lower left", fontsize=7)
    return figure


@styled
def cost_against_transfer(table: pd.DataFrame, title: str) -> Figure:
    """Added parameters against calibrated transfer, the null as a line."""
    figure, ax = canvas(width=6.4, height=4.2)
    kinds = table.apply(_kind, axis=1)
    colors = [NULL_COLOR, *PALETTE[:3]]
    for kind, (label, _) in enumerate(KINDS):
        part = table[kinds == kind]
        if not part.empty:
            ax.scatter(
                part["added_parameters"] + 1,
                part["calibrated_transfer"],
                s=18,
                color=colors[kind],
                label=label,
            )
    ax.axhline(float(np.mean(table["null_transfer"])), color=NULL_COLOR, linestyle="--", linewidth=1)
    ax.set_xscale("log")
    ax.set(xlabel="added parameters + 1", ylabel="calibrated transfer (%)", title=title)
    ax.legend(fontsize=7)
    return figure


def ceiling_map(ceiling: pd.DataFrame, title: str) -> Figure:
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
def confusions(matrices: Mapping[str, np.ndarray]) -> Figure:
    """Small multiples: true class by called class."""
    n = max(1, len(matrices))
    figure, _ = canvas(width=2.4 * min(n, 3), height=2.5 * -(-n // 3))
    figure.clear()
    for i, (name, matrix) in enumerate(matrices.items()):
        ax = figure.add_subplot(-(-n // 3), min(n, 3), i + 1)
        names = [str(c) for c in range(len(matrix))]
        heatmap(matrix, x="called", y="true", title=name, unit="%", ticks_x=names, ticks_y=names, ax=ax)
        ax.title.set_fontsize(7)
    return figure


@styled
def concept_space(points: Mapping[str, Tensor], new: Sequence[int], method: str) -> Figure:
    """Features before and after a graft; the new class in color, the others in gray shades."""
    figure, _ = canvas(width=8.0, height=3.8)
    figure.clear()
    y = points["y"].numpy()
    for i, when in enumerate(("before", "after")):
        ax = figure.add_subplot(1, 2, i + 1)
        for j, c in enumerate(sorted(set(y.tolist()))):
            part = points[when].numpy()[y == c]
            ax.scatter(part[:, 0], part[:, 1], s=6, alpha=0.6, color=PALETTE[j % len(PALETTE)],
                       label=f"{c} (new)" if c in new else str(c))  # fmt: skip
        ax.set(xlabel="first axis", ylabel="second axis", title=f"{when} {method}")
        ax.legend(fontsize=6, markerscale=2)
    return figure


def detection(table: pd.DataFrame) -> Figure:
    """AUROC of grafted rows by layer, one line per way of planting; 50 is chance."""
    cases = table.groupby("case", sort=False)
    series = {str(case): (part["layer"].to_numpy(), part["auroc"].to_numpy()) for case, part in cases}
    figure = curves(
        series, x="hidden layer", y="AUROC (%)", title="Grafted rows from weights alone", nulls=["control"]
    )
    figure.axes[0].axhline(50, color=NULL_COLOR, linestyle=":", linewidth=1)
    figure.axes[0].set_xticks(sorted(set(table["layer"])))
    return figure


def survival(table: pd.DataFrame, x: str, label: str) -> Figure:
    """Transfer of each method as the network is pruned or coarsened."""
    series = {
        str(m): (p[x].to_numpy(), p["transfer"].to_numpy()) for m, p in table.groupby("method", sort=False)
    }
    return curves(series, x=label, y="transfer (%)", title="Does the graft live through it?")
