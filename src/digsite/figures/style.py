"""One look for every figure: drawn without a screen, readable in print, safe for color-blind eyes."""

from typing import Any

import matplotlib

matplotlib.use("Agg")

from cycler import cycler
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

# Okabe and Ito's palette, ordered so that the first colors differ most in lightness too.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")
NULL_COLOR = "#9A9A9A"  # chance, baselines and shuffled controls are always this gray
SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"

RC: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=PALETTE),
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "image.cmap": SEQUENTIAL,
    "image.interpolation": "nearest",
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "svg.hashsalt": "digsite",  # the same figure gives the same bytes
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}


def canvas(
    rows: int = 1, columns: int = 1, *, width: float = 6.0, height: float = 3.4, **options: Any
) -> tuple[Figure, Any]:
    """A figure in our style and its axes, sized in inches for the whole figure."""
    with plt.rc_context(RC):
        figure, axes = plt.subplots(rows, columns, figsize=(width, height), **options)
    plt.close(figure)  # the figure lives on, pyplot forgets it: nothing piles up in long runs
    return figure, axes


def styled(function: Any) -> Any:
    """For functions that draw on given axes: legends, texts and ticks made inside follow the style."""
    from functools import wraps

    @wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        with plt.rc_context(RC):
            return function(*args, **kwargs)

    return inner
