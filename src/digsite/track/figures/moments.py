"""Before and after a moment: attention, heads, filters, activations by class, and entropy over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from digsite.figures import PALETTE, canvas, styled


@styled
def attention_heads(before: Tensor, after: Tensor, steps: tuple[int, int], example: int = 0) -> Figure:
    """Patterns (batch, head, query, key) of one example: one column per head, one row per moment."""
    heads = before.shape[1]
    figure, axes = canvas(2, heads, width=1.9 * heads + 1, height=4.0, squeeze=False)
    top = float(max(before[example].max(), after[example].max()))
    image: Any = None
    for row, (pattern, step) in enumerate(zip((before, after), steps, strict=True)):
        for head in range(heads):
            ax = axes[row, head]
            image = ax.imshow(pattern[example, head].cpu().numpy(), vmin=0, vmax=top)
            ax.set(title=f"head {head}, step {step}")
            ax.grid(False)
    for ax in axes[-1]:
        ax.set_xlabel("key")
    for ax in axes[:, 0]:
        ax.set_ylabel("query")
    figure.colorbar(image, ax=axes, label="attention probability", shrink=0.7)
    return figure


@styled
def filters_figure(before: Tensor, after: Tensor, steps: tuple[int, int], most: int = 12) -> Figure:
    """First-layer kernels (out, in, h, w), averaged over inputs, in place: changes of order stay visible."""
    shown = min(most, len(before))
    figure, axes = canvas(2, shown, width=0.75 * shown + 1, height=2.6, squeeze=False)
    top = float(max(before.abs().max(), after.abs().max()))
    for row, (kernels, step) in enumerate(zip((before, after), steps, strict=True)):
        for k in range(shown):
            axes[row, k].imshow(kernels[k].mean(0).cpu().numpy(), cmap="RdBu_r", vmin=-top, vmax=top)
            axes[row, k].set_xticks([])
            axes[row, k].set_yticks([])
            axes[row, k].grid(False)
        axes[row, 0].set_ylabel(f"step {step}")
    return figure


@styled
def activation_heatmaps(before: Tensor, after: Tensor, labels: Tensor, steps: tuple[int, int]) -> Figure:
    """Class means of each unit, scaled to the unit's own spread; units in the same order in both panels."""
    classes = labels.unique()
    tables = [np.stack([x[labels == c].mean(0).numpy() for c in classes]) for x in (before, after)]
    scaled = [(t - t.mean(0)) / np.maximum(t.std(0), 1e-6) for t in tables]
    order = np.argsort(scaled[1].argmax(0), kind="stable")
    figure, axes = canvas(2, 1, width=7.0, height=4.2)
    image: Any = None
    for ax, table, step in zip(axes, scaled, steps, strict=True):
        image = ax.imshow(table[:, order], aspect="auto", cmap="RdBu_r", vmin=-2.5, vmax=2.5)
        ax.set(ylabel="class", title=f"step {step}")
        ax.grid(False)
    axes[-1].set_xlabel("unit, by its class at the later step")
    figure.colorbar(image, ax=axes, label="class mean, in units of its spread")
    return figure


@styled
def entropy_evolution(
    steps: Sequence[int],
    entropies: Mapping[str, Sequence[float]],
    jumps: Sequence[float],
    y: str = "attention entropy",
) -> Figure:
    """One line per head or layer; vertical lines are confirmed jumps."""
    figure, ax = canvas(width=6.4, height=3.2)
    for k, (name, values) in enumerate(entropies.items()):
        ax.plot(steps, values, color=PALETTE[k % len(PALETTE)], label=name)
    for step in jumps:
        ax.axvline(step, color="black", linewidth=0.6, linestyle=":")
    ax.set(xlabel="training step", ylabel=y)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def effects_figure(rows: Mapping[str, tuple[float, float, float]], x: str) -> Figure:
    """Effects with intervals; the gray line is no effect."""
    figure, ax = canvas(width=6.4, height=0.9 + 0.42 * len(rows))
    for k, (value, low, high) in enumerate(rows.values()):
        ax.errorbar(
            value,
            k,
            xerr=[[max(value - low, 0)], [max(high - value, 0)]],
            fmt="o",
            color=PALETTE[0],
            capsize=3,
        )
    ax.axvline(0, color="#9A9A9A", linestyle="--")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set(xlabel=x)
    ax.invert_yaxis()
    return figure
