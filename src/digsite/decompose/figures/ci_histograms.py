"""How often each importance occurs: most are zero, those that matter sit at one."""

from matplotlib.figure import Figure

from digsite.decompose.figures._panels import panels
from digsite.decompose.judge.views import View
from digsite.figures import histogram, styled

CAPTION = "Log counts of importances over fresh data; little mass between zero and one means clean decisions."


@styled
def draw(view: View) -> Figure:
    figure, axes = panels(view.found.modules)
    for ax, (module, g) in zip(axes, view.importance.items(), strict=True):
        histogram(
            {module: g.flatten().cpu().numpy()}, x="importance", bins=100, log_y=True, title=module, ax=ax
        )
    return figure
