"""The two factors V and U of every module as heat maps, components in the order of the importance figure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from digsite.decompose.figures._panels import panels, shown
from digsite.decompose.judge.views import View
from digsite.figures import heatmap, styled

CAPTION = "Columns are components; unused ones are blank, used ones each read and write one direction."


@styled
def draw(view: View) -> Figure:
    names = [f"{factor} of {module}" for module in view.found.modules for factor in "VU"]
    figure, axes = panels(names)
    for ax, name in zip(axes, names, strict=True):
        factor, _, module = name.partition(" of ")
        heatmap(
            _matrix(view, module, factor),
            x="component (ordered)",
            y="dimension",
            title=name,
            centered=True,
            ax=ax,
        )
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _matrix(view: View, module: str, factor: str) -> np.ndarray:
    """Factors of equal length: their product says how much a component does, not either factor alone."""
    parts, order = view.found.components(module), view.order[module]
    drawn = order[: shown(parts.norms.detach().cpu().numpy()[order])]
    size = parts.norms.clamp_min(1e-12).sqrt()
    balanced = parts.V / parts.V.norm(dim=0).clamp_min(1e-12) * size
    if factor == "U":
        balanced = parts.U.T / parts.U.norm(dim=1).clamp_min(1e-12) * size
    return balanced.detach().cpu().numpy()[:, drawn]


def data(view: View) -> dict[str, Sequence[float]]:
    modules = view.found.modules
    norms = {m: view.found.components(m).norms.detach().cpu().numpy()[view.order[m]] for m in modules}
    longest = max(map(len, norms.values()))
    return {f"{m}/norm": [*n.tolist(), *[float("nan")] * (longest - len(n))] for m, n in norms.items()}
