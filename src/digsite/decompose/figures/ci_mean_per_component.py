"""Mean importance of every component, from the most to the least used, on a log scale."""

import numpy as np
from matplotlib.figure import Figure

from digsite.decompose.judge.views import View
from digsite.figures import curves

CAPTION = "A cliff separates components in use from spares; a long slope means that pieces are shared."


def draw(view: View) -> Figure:
    series = {}
    for module, g in view.importance.items():
        means = g.mean(0).sort(descending=True).values.cpu().numpy()
        series[module] = (np.arange(len(means)), np.maximum(means, 1e-7))
    return curves(series, x="component (by use)", y="mean importance", log_y=True)
