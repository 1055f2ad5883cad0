"""Wrong entries of the importance pattern over the steps of a toy study."""

from matplotlib.figure import Figure

from digsite.base.errors import UsageError
from digsite.decompose.view import View
from digsite.figures import curves, styled

CAPTION = "Pattern errors fall to zero when the components are found."


@styled
def draw(view: View) -> Figure:
    if not view.course:
        raise UsageError("The figure 'course' needs a study that checks its importances against a truth.")
    steps = [row["step"] for row in view.course]
    series = {
        key.replace("_", " "): (steps, [row[key] for row in view.course])
        for key in ("error_mean", "error_max")
    }
    return curves(series, x="step", y="wrong entries of the importance pattern")
