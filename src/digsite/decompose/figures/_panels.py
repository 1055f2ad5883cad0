"""A row of axes, one per module."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from digsite.figures import canvas


def panels(names: Sequence[str], *, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    figure, axes = canvas(width=3.4 * max(len(names), 1), height=height, columns=max(len(names), 1))
    return figure, list(np.ravel(axes))


def shown(sizes: np.ndarray, at_least: int = 0) -> int:
    """How many of the ordered components are drawn: all that are used, and a few of the unused."""
    used = np.flatnonzero(sizes > 0.01 * sizes.max())
    return min(len(sizes), max(at_least, int(used[-1]) + 1 if used.size else 0) + 3)
