"""Who passes what in the exam: one row per contestant, one column per program."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from digsite.figures import SEQUENTIAL, canvas


def draw_marks(shares: Mapping[str, Mapping[str, float]], passed: Mapping[str, float]) -> Figure:
    """`shares` by contestant and program, 0 to 1; `passed` is each contestant's share of programs passed."""
    who, programs = list(shares), list(next(iter(shares.values())))
    values = np.array([[shares[w][p] for p in programs] for w in who])
    figure, axes = canvas(width=2.2 + 0.55 * len(programs), height=1.6 + 0.32 * len(who))
    axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            text = "-" if np.isnan(value) else ("1" if value == 1 else f"{value:.2f}".lstrip("0"))
            color = "white" if value > 0.6 else "black"
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(range(len(programs)), programs, rotation=45, ha="right")
    axes.set_yticks(range(len(who)), [f"{w}  {passed[w]:.0%}" for w in who])
    axes.grid(False)
    return figure
