"""How much features attract and avoid each other beyond their densities (root mean square of phi)."""

import numpy as np

from digsite.prune.judge.views import View

TAIL = "upper"


def compute(view: View) -> float:
    return float(np.sqrt(np.nanmean(view.phi**2)))
