"""How alike the features of a mask are: the nearest, all pairs, in clusters, in blocks, and in one global direction."""

import numpy as np

from digsite.prune.core.clusters import cluster_distances
from digsite.prune.core.hamming import measure_coherence
from digsite.prune.judge.statistics import MaskView, Statistic


class TopSingular(Statistic):
    """Global test: the largest singular value of the mask less what its margins predict."""

    def compute_value(self, view: MaskView) -> float:
        """Of the mask after both margins are taken off: what is left of one direction shared by all features."""
        return view.top_singular


class NearestPhi(Statistic):
    """How alike every feature and its most similar one are, adjusted for density (mean of the largest phi)."""

    def compute_value(self, view: MaskView) -> float:
        """Mean correlation with the most alike other feature."""
        return float(np.nanmax(view.phi, axis=1).mean())


class PhiSpread(Statistic):
    """How much features attract and avoid each other beyond their densities (root mean square of phi)."""

    def compute_value(self, view: MaskView) -> float:
        """Root mean square of all correlations: many small ones count."""
        return float(np.sqrt(np.nanmean(view.phi**2)))


class NearestHamming(Statistic):
    """Raw mean Hamming distance to the nearest feature, as a share of positions: what densities alone can move."""

    TAIL = "lower"

    def compute_value(self, view: MaskView) -> float:
        """Mean distance to the nearest other feature, as a share of the positions."""
        distances = view.distances.astype(np.float64)
        np.fill_diagonal(distances, np.inf)
        return float(distances.min(axis=1).mean() / view.mask.n_bits)


class Silhouette(Statistic):
    """Silhouette of all features in 8 k-means clusters: looks good on pure density, so it is read beside its null."""

    def compute_value(self, view: MaskView) -> float:
        """Of eight clusters, fewer where there are few features."""
        k = min(
            8, max(2, view.mask.n_features // 4)
        )  # small masks have fewer features than eight clusters need
        return cluster_distances(view.distances, k, n_init=3).metrics.silhouette


class BlockCoherence(Statistic):
    """Share of (position, group of 8 features) cells with nothing kept: work that a block kernel could skip."""

    def compute_value(self, view: MaskView) -> float:
        """Share of empty cells when neighboring features are grouped."""
        return measure_coherence(view.mask.unpack())
