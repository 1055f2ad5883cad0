"""Histogram over components of the share of positions at which they fire."""

from matplotlib.figure import Figure

from digsite.decompose.figures._panels import panels
from digsite.decompose.judge.views import View
from digsite.figures import histogram, styled

CAPTION = "Components of one feature each fire as often as their feature is on."


@styled
def draw(view: View) -> Figure:
    figure, axes = panels(view.found.modules)
    for ax, (module, g) in zip(axes, view.importance.items(), strict=True):
        share = (g > 0.1).float().mean(0).cpu().numpy()
        histogram(
            {module: share}, x="share of positions with importance > 0.1", y="components", title=module, ax=ax
        )
    return figure
