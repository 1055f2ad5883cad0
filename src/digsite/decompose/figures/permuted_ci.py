"""Importance of each component when one feature is on at a time, columns ordered to the known solution."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from digsite.decompose.panels import panels
from digsite.decompose.view import View
from digsite.figures import heatmap, styled

CAPTION = "Each row switches one feature on; one bright cell per row is one component per feature."


@styled
def draw(view: View) -> Figure:
    figure, axes = panels(list(view.probes))
    for ax, (module, values) in zip(axes, view.probes.items(), strict=True):
        ordered = values.cpu().numpy()[:, view.order[module]]
        heatmap(
            ordered[:, : _shown(ordered)],
            x="component (ordered)",
            y="feature",
            title=module,
            unit="importance",
            ax=ax,
        )
    return figure


def data(view: View) -> dict[str, Sequence[float]]:
    columns = {}
    for module, values in view.probes.items():
        ordered = values.cpu().numpy()[:, view.order[module]]
        columns |= {f"{module}/{c}": ordered[:, c].tolist() for c in range(_shown(ordered))}
    return columns


def _shown(ordered: np.ndarray) -> int:
    """All used columns and a few of the unused."""
    used = np.flatnonzero(ordered.max(0) > 0.01)
    return min(ordered.shape[1], max(ordered.shape[0], int(used[-1]) + 1 if used.size else 0) + 3)
