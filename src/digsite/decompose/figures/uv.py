"""The two factors V and U of every module as heat maps, components in the order of the importance figure."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from digsite.decompose.panels import panels
from digsite.decompose.view import View
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
    return figure


def _matrix(view: View, module: str, factor: str):
    parts = view.found.components(module)
    values = parts.V if factor == "V" else parts.U.T
    return values.detach().cpu().numpy()[:, view.order[module]]


def data(view: View) -> dict[str, Sequence[float]]:
    modules = view.found.modules
    norms = {m: view.found.components(m).norms.detach().cpu().numpy()[view.order[m]] for m in modules}
    longest = max(map(len, norms.values()))
    return {f"{m}/norm": [*n.tolist(), *[float("nan")] * (longest - len(n))] for m, n in norms.items()}
