"""Pictures of the room: series with jumps, jump times, claims beside their nulls, and an early warning's score over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from digsite.figures import NULL_COLOR, PALETTE, canvas, place_legend, styled
from digsite.track.core.jumps import Jump
from digsite.track.core.series import Series
from digsite.track.judge.critical import TOGETHER, fast_samples
from digsite.track.judge.windows import RiseWindow
from digsite.track.subjects.tracked import TrackedRun


@styled
def series_with_jumps(
    series: Sequence[Series], jumps: Sequence[Sequence[Jump]], *, y: str, title: str = ""
) -> Figure:
    """Curves over training steps; a band marks the interval of each jump's place."""
    figure, ax = canvas(width=6.4, height=3.2)
    for color, course, course_jumps in zip(_pick_colors(len(series)), series, jumps, strict=True):
        ax.plot(course.steps, course.values, color=color, label=course.layer or course.run)
        for jump in course_jumps:
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
    axes[0].set(ylabel="recorded value - 1", title=f"{layer}:\nrecorded stable rank, one up to rounding")
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
    for color, ax, (name, values) in zip(_pick_colors(len(phases)), axes[:, 0], phases.items(), strict=True):
        ax.hist(values, bins=bins.tolist(), color=color)
        ax.axhline(len(values) / 40, color=NULL_COLOR, linestyle="--", label="even spread")
        ax.set(ylabel="jumps", title=f"{name} (n = {len(values)})")
    place_legend(axes[0, 0])
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
    for k, (color, (label, values)) in enumerate(zip(_pick_colors(len(counts)), counts.items(), strict=True)):
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
    place_legend(ax)
    return figure


@styled
def predicted_figure(points: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Predicted and measured jumps per layer by family, and the line on which both agree."""
    figure, ax = canvas(width=5.2, height=4.2)
    for position, (family, (x, y)) in enumerate(points.items()):
        ax.plot(x, y, "osD"[position % 3], color=PALETTE[position], markersize=5, label=family)
    known = np.concatenate([np.asarray(values) for pair in points.values() for values in pair])
    ends = [known.min(), known.max()]
    ax.plot(ends, ends, color=NULL_COLOR, linestyle="--", linewidth=1)
    ax.set(xlabel="jumps per layer, predicted", ylabel="jumps per layer, measured")
    place_legend(ax)
    return figure


def _pick_colors(count: int) -> list[str]:
    """The palette, again from its beginning."""
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


@styled
def layer_heatmap(run: TrackedRun, measure: str, pairs: Sequence[tuple[Series, Sequence[Jump]]]) -> Figure:
    """Each layer's curve as a row, scaled to its own range; ticks mark jumps."""
    values = run.values[measure]
    low, high = np.nanmin(values, 1, keepdims=True), np.nanmax(values, 1, keepdims=True)
    scaled = (values - low) / np.maximum(high - low, 1e-12)
    figure, ax = canvas(width=7.0, height=1.2 + 0.22 * len(run.layers))
    image = ax.imshow(
        scaled, aspect="auto", extent=(float(run.steps[0]), float(run.steps[-1]), len(run.layers) - 0.5, -0.5)
    )
    for series, jumps in pairs:
        ax.plot(
            [j.step for j in jumps],
            [series.depth] * len(jumps),
            "|",
            color="white",
            markersize=9,
            markeredgewidth=2,
        )
    labels = [
        f"{name}  {a:.1f}..{b:.1f}" for name, a, b in zip(run.layers, low[:, 0], high[:, 0], strict=True)
    ]
    ax.set_yticks(range(len(run.layers)), labels, fontsize=7)
    ax.set(xlabel="training step", title=f"{run.name}\n{measure}")
    ax.grid(False)
    figure.colorbar(image, ax=ax, label="share of own range")
    return figure


@styled
def velocity_and_acceleration(run: TrackedRun, measure: str) -> Figure:
    """Speeds and accelerations of the layers, and coordination with its threshold."""
    figure, axes = canvas(3, 1, width=7.0, height=6.0, sharex=True)
    moving = [series for series in run.series(measure) if not series.constant]
    for series in moving:
        scale = max(float(series.values.std()), 1e-12)
        axes[0].plot(series.steps[1:], np.abs(np.diff(series.values)) / scale, linewidth=0.7, alpha=0.8)
        axes[1].plot(series.steps[2:], np.abs(np.diff(series.values, n=2)) / scale, linewidth=0.7, alpha=0.8)
    if moving:
        axes[2].plot(run.steps, np.mean([fast_samples(s.values) for s in moving], axis=0), color=PALETTE[0])
    axes[2].axhline(TOGETHER, color="black", linewidth=0.8, linestyle=":", label="half of the layers")
    axes[2].axhline(0.1, color=NULL_COLOR, linestyle="--", label="average by construction")
    place_legend(axes[2])
    axes[0].set(ylabel="|velocity| / sd", title=f"{run.name}: {measure}", yscale="log")
    axes[1].set(ylabel="|acceleration| / sd", yscale="log")
    axes[2].set(xlabel="training step", ylabel="share of layers that are fast")
    return figure


@styled
def transition_figure(
    run: TrackedRun,
    channels: Sequence[str],
    behavior: np.ndarray | None,
    windows: Sequence[RiseWindow],
    confirmed: Sequence[tuple[Series, Jump]],
    courses: Sequence[tuple[str, str]] = (),
) -> Figure:
    """Behavior above; below it the (measure, layer) that date it best, and those with the surest jumps."""
    sure = [(s.measure, s.layer) for s, _ in sorted(confirmed, key=lambda pair: pair[1].p or 0)]
    keys = list(dict.fromkeys([*courses[:3], *sure[:2]]))
    keys = keys or [(measure, run.layers[-1]) for measure in list(run.values)[:2]]
    above = behavior is not None
    rows = -(-(above + len(keys)) // 2)
    figure, panels = canvas(rows, 2, width=9.6, height=2.1 * rows + 0.3, sharex=True, squeeze=False)
    axes = list(panels.flat)[: above + len(keys)]
    for spare in list(panels.flat)[len(axes) :]:
        spare.set_visible(False)
    if behavior is not None:
        for color, name, row in zip(_pick_colors(len(channels)), channels, behavior, strict=True):
            axes[0].plot(run.steps, row, color=color, label=name)
        tall = {"loc": "center right"} if len(channels) > 4 else {}  # between what has risen and what has not
        place_legend(axes[0], frameon=True, framealpha=0.8, edgecolor="none", **tall)
        axes[0].set(ylabel="behavior", title=f"what the network can do ({run.name})")
    for ax, (measure, layer) in zip(axes[above:], keys, strict=True):
        series = next(s for s in run.series(measure) if s.layer == layer)
        ax.plot(series.steps, series.values, color=PALETTE[0])
        for jump in (j for s, j in confirmed if (s.measure, s.layer) == (measure, layer)):
            ax.axvspan(jump.low, jump.high, color=PALETTE[1], alpha=0.4, linewidth=0)
            ax.axvline(jump.step, color=PALETTE[1], linewidth=1)
        ax.set(ylabel="value", title=f"{layer or 'model'}: {measure}")
    for ax in axes:
        for window in windows:
            ax.axvspan(window.low, window.high, color=NULL_COLOR, alpha=0.15, linewidth=0)
    for ax in axes[-2:]:
        ax.tick_params(labelbottom=True)
        ax.set_xlabel("training step")
    name_bands(figure, rises=bool(windows), changes=bool(confirmed))
    return figure


def name_bands(figure: Figure, *, rises: bool, changes: bool) -> None:
    """One legend below all panels for what the bands mean, of those that are there."""
    bands = []
    if rises:
        bands.append(Patch(color=NULL_COLOR, alpha=0.3, label="a rise of behavior, 10 to 90 %"))
    if changes:
        bands.append(Patch(color=PALETTE[1], alpha=0.5, label="a confirmed change, 95 % of its place"))
    if bands:
        figure.legend(handles=bands, loc="outside lower center", ncols=2, fontsize=8)


# A score over training for networks that grok and for networks that never do, with the alarm's level.


@styled
def draw_warnings(runs: list[Any], scores: dict[str, np.ndarray], threshold: float) -> Any:
    """Scores of runs that grok above, of all others below; there those that rise after the record have their own color.

    `runs`: with `window`, `late`, `steps` and `name`; `scores`: by name of run; `threshold`: where the alarm is.
    """
    figure, axes = canvas(2, 1, width=6.8, height=5.0, sharex=True, sharey=True)
    for net in runs:
        ax = axes[0 if net.window else 1]
        color = PALETTE[0 if net.window else 1 if net.late else 3]
        ax.plot(net.steps, scores[net.name], linewidth=0.9, alpha=0.8, color=color)
        if net.window:
            at = net.window.middle
            ax.plot(at, np.interp(at, net.steps, scores[net.name]), "o", markersize=3, color=color)
    for ax, title in zip(axes, ("networks that grok (dot: middle of the rise)", "networks that do not")):
        ax.axhline(threshold, color=NULL_COLOR, linestyle="--", linewidth=1)
        ax.set(ylabel="score", title=title)
    kinds: list[tuple[str, str, Any]] = [("alarm", NULL_COLOR, "--"), ("never rise", PALETTE[3], "-")]
    kinds += [("rise after the record", PALETTE[1], "-")] if any(net.late for net in runs) else []
    handles = [Line2D([], [], color=color, linestyle=style, label=name) for name, color, style in kinds]
    axes[1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes[1].set_xlabel("training step")
    return figure
