"""Silhouette of all features in 8 k-means clusters: looks good on pure density, so it is read beside its null."""

from digsite.prune.core.clusters import cluster_distances
from digsite.prune.judge.views import View

TAIL = "upper"


def compute(view: View) -> float:
    k = min(8, max(2, view.mask.n_features // 4))
    return cluster_distances(view.distances, k, n_init=3).metrics.silhouette
