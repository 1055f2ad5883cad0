"""The two pages of the integrated report: ten panels on all runs, six on the architecture families."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from digsite.figures import NULL_COLOR, PALETTE, canvas, place_legend, styled
from digsite.track.judge.phases import Phase1, rate_by
from digsite.track.subjects.tracked import TrackedRun

FAMILIES = ("mlp", "cnn", "transformer")
COLORS: dict[str, str] = dict(zip(FAMILIES, PALETTE, strict=False))


@styled
def rates_figure(table: pd.DataFrame, key: str, null: float) -> Figure:
    """Jumps per layer by a column, with intervals over runs."""
    figure, ax = canvas(width=6.4, height=3.4)
    _draw_rates(ax, table, key, null)
    return figure


@styled
def dashboard_figure(runs: Sequence[TrackedRun], result: Phase1) -> Figure:
    """Ten panels A to J; every count stands beside its null."""
    figure, axes = canvas(3, 4, width=15.5, height=9.6)
    flat = axes.ravel()
    null = float(result.detectors.set_index("detector").loc["edge"].null_per_series)
    _draw_orders(flat[0], result)
    _draw_thirds(flat[1], result)
    _draw_rates(flat[2], rate_by(result.jumps, result.layers, "family"), "family", null)
    flat[2].set_title("C  jumps per layer and family")
    _draw_coordinated(flat[3], result)
    _draw_phases(flat[4], result.jumps.phase.to_numpy(float), "E  when jumps happen")
    _phases_by_family(flat[5], result)
    _draw_sizes(flat[6], result)
    _draw_clusters(flat[7], result)
    _draw_loss(flat[8], result)
    figure.delaxes(flat[10])
    figure.delaxes(flat[11])
    _write_words(flat[9], runs, result)
    return figure


@styled
def architecture_page(result: Phase1) -> Figure:
    """For each family: jump times above, the layers that jump most below (full names, no merging)."""
    figure, axes = canvas(2, 3, width=13.5, height=7.6)
    for k, family in enumerate(FAMILIES):
        own_jumps: Any = result.jumps[result.jumps.family == family]
        _draw_phases(
            axes[0, k],
            own_jumps.phase.to_numpy(float),
            f"{family}: {len(own_jumps)} jump{'s'[: len(own_jumps) != 1]}",
        )
        _top_layers(axes[1, k], own_jumps, result, family)
    return figure


def _draw_rates(ax: Axes, table: pd.DataFrame, key: str, null: float) -> None:
    """Jumps per layer beside smooth courses with new noise."""
    at = np.arange(len(table))
    ax.bar(at, table["median"], color=PALETTE[0], width=0.65)
    spread = np.nan_to_num(np.stack([table["median"] - table["low"], table["high"] - table["median"]]))
    ax.errorbar(at, table["median"], yerr=spread, fmt="none", ecolor="black", elinewidth=1, capsize=3)
    ax.axhline(null, color=NULL_COLOR, linestyle="--", label="smooth courses, new noise")
    long = len(table) > 4
    ax.set_xticks(
        at, [str(x) for x in table[key]], rotation=40 if long else 0, ha="right" if long else "center"
    )
    ax.set(ylabel="jumps per layer")
    ax.set_ylim(top=1.2 * ax.get_ylim()[1])  # the legend's place
    ax.legend(loc="upper left")


def _draw_orders(ax: Axes, result: Phase1) -> None:
    """In which order layers settle."""
    names = ("bottom-up", "top-down", "simultaneous", "unclear")
    counts = result.convergence.order.value_counts()
    ax.bar(range(4), [int(counts.get(n, 0)) for n in names], color=PALETTE[2], width=0.65)
    ax.axhline(
        0.025 * len(result.convergence), color=NULL_COLOR, linestyle="--", label="each order by chance"
    )
    ax.set_xticks(range(4), names, rotation=20)
    ax.set(ylabel="runs", title="A  order in which layers settle")
    place_legend(ax)


def _draw_thirds(ax: Axes, result: Phase1) -> None:
    """Early, middle, late."""
    counts = result.jumps.phase_category.value_counts()
    values = [int(counts.get(n, 0)) for n in ("early", "mid", "late")]
    total = max(sum(values), 1)
    ax.bar(range(3), values, color=PALETTE[0], width=0.65)
    for x, value in enumerate(values):
        ax.text(x, value, f"{value / total:.0%}", ha="center", va="bottom", fontsize=8)
    ax.axhline(total / 3, color=NULL_COLOR, linestyle="--", label="even spread")
    ax.set_xticks(range(3), ["early", "mid", "late"])
    ax.set(ylabel="jumps", title="B  thirds of training")
    place_legend(ax)


def _draw_coordinated(ax: Axes, result: Phase1) -> None:
    """p of shared fast periods: even if there are none."""
    p = result.critical.coordination_p.to_numpy(float) if len(result.critical) else np.zeros(0)
    ax.hist(p, bins=np.linspace(0, 1, 21).tolist(), color=PALETTE[3])
    ax.axhline(len(p) / 20, color=NULL_COLOR, linestyle="--", label="no coordination")
    ax.set(xlabel="p against circular shifts", ylabel="runs", title="D  layers fast together")
    place_legend(ax)


def _draw_phases(ax: Axes, phase: np.ndarray, title: str) -> None:
    """When jumps come."""
    ax.hist(phase, bins=np.linspace(0, 1, 51).tolist(), color=PALETTE[0])
    ax.axhline(len(phase) / 50, color=NULL_COLOR, linestyle="--", label="even spread")
    ax.axvline(0.1, color="black", linewidth=0.8, linestyle=":", label="early: before 0.1")
    early = f", {np.mean(phase < 0.1):.0%} early" if len(phase) else ""
    ax.set(xlabel="share of training done", ylabel="jumps", title=title + early)
    place_legend(ax)


def _phases_by_family(ax: Axes, result: Phase1) -> None:
    """As cumulative shares."""
    for family, color in COLORS.items():
        phases = np.sort(result.jumps.phase[result.jumps.family == family].to_numpy(float))
        if len(phases):
            ax.plot(
                phases,
                np.arange(1, len(phases) + 1) / len(phases),
                color=color,
                drawstyle="steps-post",
                label=family,
            )
    ax.plot([0, 1], [0, 1], color=NULL_COLOR, linestyle="--", label="even spread")
    ax.set(xlabel="share of training done", ylabel="share of jumps so far", title="F  when, by family")
    place_legend(ax)


def _draw_sizes(ax: Axes, result: Phase1) -> None:
    """Relative change of a jump."""
    groups = [
        np.abs(result.jumps.relative_change[result.jumps.family == f].to_numpy(float)) for f in FAMILIES
    ]
    some = [(f, g) for f, g in zip(FAMILIES, groups, strict=True) if len(g)]
    if some:
        ax.boxplot([g for _, g in some], tick_labels=[f for f, _ in some])
        ax.set_yscale("log")
    ax.set(ylabel="relative size of a jump", title="G  how large")


def _draw_clusters(ax: Axes, result: Phase1) -> None:
    """Kinds of jumps, if there are kinds."""
    kinds = result.kinds
    sizes = [int((kinds.labels == c).sum()) for c in range(kinds.k)]
    ax.bar(range(kinds.k), sizes, color=PALETTE[4], width=0.65)
    ax.set_xticks(range(kinds.k), ["all"] if kinds.k == 1 else [f"kind {c + 1}" for c in range(kinds.k)])
    answer = "no clusters" if kinds.k == 1 else f"{kinds.k} clusters"
    ax.set(ylabel="jumps", title=f"H  kinds of jumps: {answer}")


def _draw_loss(ax: Axes, result: Phase1) -> None:
    """Whether the loss moves with a jump."""
    ax.axhline(0, color=NULL_COLOR, linestyle="--", label="base rate")
    for k, family in enumerate(FAMILIES):
        rows = result.critical
        values = (
            rows.loss_difference[rows.family == family].dropna().to_numpy(float) if len(rows) else np.zeros(0)
        )
        if len(values):
            error = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
            ax.errorbar(k, values.mean(), yerr=error, fmt="o", color=COLORS[family], capsize=3)
    ax.set_xticks(range(3), FAMILIES)
    ax.set_xlim(-0.5, 2.5)
    ax.set(ylabel="share of falls minus base rate", title="I  loss at fast samples")
    place_legend(ax)


def _write_words(ax: Axes, runs: Sequence[TrackedRun], result: Phase1) -> None:
    """The numbers in words."""
    ax.axis("off")
    detectors, kinds = result.detectors.set_index("detector"), Counter(result.layers.kind)
    lines = [
        f"{len(runs)} runs, {len(result.layers)} layer series",
        f"{len(result.jumps)} calibrated jumps",
        *(
            f"{n}: {row.per_series:.2f} per layer, null {row.null_per_series:.2f}"
            for n, row in detectors.iterrows()
        ),
        f"constant {kinds['constant']}, converged {kinds['converged']}, moving {kinds['not converged']} layers",
    ]
    ax.set_title("J  numbers")
    ax.text(0, 0.95, "\n".join(lines), va="top", fontsize=9, linespacing=1.7, transform=ax.transAxes)


def _top_layers(ax: Axes, rows: pd.DataFrame, result: Phase1, family: str) -> None:
    """Layers with the most jumps."""
    counted = (
        (rows.arch_name + " " + rows.layer).value_counts().head(10)[::-1]
        if len(rows)
        else pd.Series(dtype=int)
    )
    ax.barh(range(len(counted)), counted.to_numpy(), color=COLORS[family])
    ax.set_yticks(range(len(counted)), [str(name) for name in counted.index], fontsize=7)
    per_layer = result.detectors.set_index("detector").loc["edge"].null_per_series
    runs = result.layers[result.layers.family == family].groupby(["arch_name", "layer"]).size()
    if len(runs):
        ax.axvline(
            float(per_layer * runs.mean()),
            color=NULL_COLOR,
            linestyle="--",
            label="smooth courses, new noise",
        )
        ax.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none")
    ax.set(xlabel="jumps over all runs", title=f"{family}: layers with most jumps")
