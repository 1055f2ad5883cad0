"""How alike every feature and its most similar one are, adjusted for density (mean of the largest phi)."""

import numpy as np

from digsite.prune.judge.views import View

TAIL = "upper"


def compute(view: View) -> float:
    return float(np.nanmax(view.phi, axis=1).mean())
