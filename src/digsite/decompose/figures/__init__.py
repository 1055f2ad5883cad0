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


def make_panels(names: Sequence[str], *, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A row of axes, one per name."""
    figure, axes = canvas(width=3.4 * max(len(names), 1), height=height, columns=max(len(names), 1))
    return figure, list(np.ravel(axes))


def count_shown(sizes: np.ndarray, at_least: int = 0) -> int:
    """How many of the ordered components (C,) are drawn: all that are used, and a few of the unused."""
    used = np.flatnonzero(sizes > 0.01 * sizes.max())
    return min(len(sizes), max(at_least, int(used[-1]) + 1 if used.size else 0) + 3)
