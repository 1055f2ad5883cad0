"""Pictures of the room: series with jumps, jump times, claims beside their nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from digsite.figures import NULL_COLOR, PALETTE, canvas, styled
from digsite.track.jumps import Jump
from digsite.track.series import Series


@styled
def series_with_jumps(
    series: Sequence[Series], jumps: Sequence[Sequence[Jump]], *, y: str, title: str = ""
) -> Figure:
    """Curves over training steps; a band marks the interval of each jump's place."""
    figure, ax = canvas(width=6.4, height=3.2)
    for color, one, found in zip(_colors(len(series)), series, jumps, strict=True):
        ax.plot(one.steps, one.values, color=color, label=one.layer or one.run)
        for jump in found:
            ax.axvspan(jump.low, jump.high, color=color, alpha=0.25, linewidth=0)
    ax.set(xlabel="training step", ylabel=y, title=title)
    if len(series) <= 10:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def recorded_and_repaired(
    steps: np.ndarray, recorded: np.ndarray, repaired: np.ndarray, layer: str
) -> Figure:
    """The published column minus one, and the true stable rank of the same layer."""
    figure, axes = canvas(2, 1, width=6.4, height=4.4, sharex=True)
    axes[0].plot(steps, recorded - 1, color=NULL_COLOR)
    axes[0].set(ylabel="recorded value - 1", title=f"{layer}: the recorded stable rank is one up to rounding")
    axes[1].plot(steps, repaired, color=PALETTE[0])
    axes[1].set(xlabel="training step", ylabel="stable rank", title="the same layer repaired")
    return figure


@styled
def phase_histograms(phases: Mapping[str, np.ndarray], title: str = "") -> Figure:
    """When jumps happen, one panel per way of finding them; the dashed line is an even spread."""
    figure, axes = canvas(
        len(phases), 1, width=6.4, height=1.5 * len(phases) + 0.6, sharex=True, squeeze=False
    )
    bins = np.linspace(0, 1, 41)
    for color, ax, (name, values) in zip(_colors(len(phases)), axes[:, 0], phases.items(), strict=True):
        ax.hist(values, bins=bins.tolist(), color=color)
        ax.axhline(len(values) / 40, color=NULL_COLOR, linestyle="--", label="even spread")
        ax.set(ylabel="jumps", title=f"{name} (n = {len(values)})")
    axes[0, 0].legend()
    axes[-1, 0].set_xlabel("share of training done")
    if title:
        figure.suptitle(title)
    return figure


@styled
def counts_and_null(
    names: Sequence[str], counts: Mapping[str, Sequence[float]], null: Sequence[float], y: str
) -> Figure:
    """Grouped bars per name with the null as a gray tick behind each group."""
    figure, ax = canvas(width=6.4, height=3.2)
    width, at = 0.8 / len(counts), np.arange(len(names))
    for k, (color, (label, values)) in enumerate(zip(_colors(len(counts)), counts.items(), strict=True)):
        ax.bar(
            np.arange(len(names)) + (k - (len(counts) - 1) / 2) * width,
            values,
            width * 0.92,
            color=color,
            label=label,
        )
    at = np.arange(len(names))
    ax.hlines(null, at - 0.45, at + 0.45, color=NULL_COLOR, linewidth=2, label="noise, by the published rule")
    ax.set_xticks(at, list(names))
    ax.set(ylabel=y)
    ax.legend()
    return figure


def _colors(count: int) -> list[str]:
    return [PALETTE[i % len(PALETTE)] for i in range(count)]
