"""Importance of each component when one feature is on at a time, columns ordered to the known solution."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from digsite.decompose.figures._panels import panels, shown
from digsite.decompose.judge.views import View
from digsite.figures import heatmap, styled

CAPTION = "Each row switches one feature on; one bright cell per row is one component per feature."


@styled
def draw(view: View) -> Figure:
    figure, axes = panels(list(view.probes))
    for ax, (module, values) in zip(axes, view.probes.items(), strict=True):
        ordered = values.cpu().numpy()[:, view.order[module]]
        heatmap(
            ordered[:, : shown(ordered.max(0), len(ordered))],
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
        columns |= {
            f"{module}/{c}": ordered[:, c].tolist() for c in range(shown(ordered.max(0), len(ordered)))
        }
    return columns
