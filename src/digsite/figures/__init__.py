"""Plots as pure functions: numbers in, Figure out; one style; data saved beside every figure."""

from digsite.figures.plots import bars, curves, heatmap, histogram, scatter
from digsite.figures.style import (
    DIVERGING,
    NULL_COLOR,
    PALETTE,
    SEQUENTIAL,
    canvas,
    place_legend,
    save_figure,
    styled,
)

__all__ = [
    "DIVERGING",
    "NULL_COLOR",
    "PALETTE",
    "SEQUENTIAL",
    "bars",
    "canvas",
    "curves",
    "heatmap",
    "histogram",
    "place_legend",
    "save_figure",
    "scatter",
    "styled",
]
