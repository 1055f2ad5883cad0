"""Wrong entries of the importance pattern over the steps of a toy study."""

from matplotlib.figure import Figure

from digsite.base.errors import UsageError
from digsite.decompose.judge.views import View
from digsite.figures import curves, styled

CAPTION = "Pattern errors fall to zero when the components are found."


@styled
def draw(view: View) -> Figure:
    if not view.course:
        raise UsageError("The figure 'course' needs a study that checks its importances against a truth.")
    steps = [row["step"] for row in view.course]
    mean, most = ([row[key] for row in view.course] for key in ("error_mean", "error_max"))
    series = {"a run": (steps, mean)} if mean == most else {"mean": (steps, mean), "worst run": (steps, most)}
    figure = curves(series, x="step", y="wrong entries of the importance pattern")
    # The last few entries take most of the steps, and zero must have its place.
    figure.axes[0].set_yscale("symlog", linthresh=1, linscale=0.5)
    figure.axes[0].yaxis.set_major_formatter("{x:g}")
    figure.axes[0].set_ylim(bottom=0)
    return figure
