"""A score over training for networks that grok and for networks that never do, with the alarm's level."""

from typing import Any

import numpy as np

from digsite.figures import NULL_COLOR, PALETTE, canvas, styled


@styled
def draw_warnings(runs: list[Any], scores: dict[str, np.ndarray], threshold: float) -> Any:
    """Scores of runs that grok above, of runs that never do below.

    `runs`: with `window`, `steps` and `name`; `scores`: by name of run; `threshold`: where the alarm is.
    """
    figure, axes = canvas(2, 1, width=6.8, height=5.0, sharex=True, sharey=True)
    for one in runs:
        ax = axes[0 if one.window else 1]
        line = ax.plot(
            one.steps, scores[one.name], linewidth=0.9, alpha=0.8, color=PALETTE[0 if one.window else 3]
        )
        if one.window:
            ax.plot(
                one.window.middle,
                np.interp(one.window.middle, one.steps, scores[one.name]),
                "o",
                markersize=3,
                color=line[0].get_color(),
            )
    for ax, title in zip(axes, ("networks that grok (dot: middle of the rise)", "networks that never do")):
        ax.axhline(threshold, color=NULL_COLOR, linestyle="--", linewidth=1)
        ax.set(ylabel="score", title=title)
    axes[1].set_xlabel("training step")
    return figure
