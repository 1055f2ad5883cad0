"""Raw mean Hamming distance to the nearest feature, as a share of positions: what densities alone can move."""

import numpy as np

from digsite.prune.judge.views import View

TAIL = "lower"


def compute(view: View) -> float:
    distances = view.distances.astype(np.float64)
    np.fill_diagonal(distances, np.inf)
    return float(distances.min(axis=1).mean() / view.mask.n_bits)
