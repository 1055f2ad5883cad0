"""Pictures of a decomposition: a class per figure, each of what a `View` shows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from digsite.decompose.judge.metrics import View
from digsite.figures import canvas


class Picture(ABC):
    """One figure: a function of a view; no object is ever made of it."""

    CAPTION: str = ""
    """What to see in it, in one sentence."""

    @staticmethod
    @abstractmethod
    def draw_figure(view: View) -> Figure:
        """The figure itself."""

    @staticmethod
    def list_data(view: View) -> dict[str, Sequence[float | str]] | None:
        """Columns of the numbers that are drawn, where these are not in a table anyway."""
        return None


Member = Picture


MOST_IN_ROW = 7


def make_panels(names: Sequence[str], *, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """Axes of this height, one per name: a row, or rows of five where a row would be wider than a page."""
    columns = len(names) if len(names) <= MOST_IN_ROW else 5
    rows = -(-len(names) // max(columns, 1)) or 1
    figure, axes = canvas(rows, max(columns, 1), width=3.4 * max(columns, 1), height=height * rows)
    flat = list(np.ravel(axes))
    for spare in flat[len(names) or 1 :]:
        spare.remove()
    return figure, flat[: len(names) or 1]


def count_shown(sizes: np.ndarray, at_least: int = 0) -> int:
    """How many of the ordered components (C,) are drawn: all that are used, and a few of the unused."""
    used = np.flatnonzero(sizes > 0.01 * sizes.max())
    return min(len(sizes), max(at_least, int(used[-1]) + 1 if used.size else 0) + 3)
