"""The original analysis's metrics, re-enacted to the letter for the audit: do not use them for anything else.

A singleton counts as within-distance 0 (so s singletons of k push the ratio to k/(k-s)), the mean over clusters is
unweighted, and between-distances come from at most 50 random pairs of each two clusters.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import pdist
from sklearn.cluster import KMeans

PAIRS = 50


@dataclass(frozen=True)
class PublishedMetrics:
    """The original's three numbers."""

    within: float
    between: float
    n_singletons: int

    @property
    def ratio(self) -> float:
        """Distance between clusters over that inside; a singleton counts as distance zero inside, which is the
        artefact.
        """
        return self.between / self.within if self.within > 0 else float("inf")


def measure_as_published(
    bits: Bool[np.ndarray, "features bits"], labels: Int[np.ndarray, "features"], seed: int
) -> PublishedMetrics:
    """Distances are shares of positions. The original drew its pairs unseeded; `seed` makes the audit repeatable."""
    groups = [bits[labels == label] for label in np.unique(labels)]
    rng = np.random.default_rng(seed)
    within = [float(pdist(group, "hamming").mean()) if len(group) > 1 else 0.0 for group in groups]
    between = [_sample_pairs(a, b, rng) for i, a in enumerate(groups) for b in groups[i + 1 :]]
    singles = sum(len(group) == 1 for group in groups)
    return PublishedMetrics(float(np.mean(within)), float(np.mean(between)) if between else 0.0, singles)


def _sample_pairs(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> float:
    """Share of unequal bits over some pairs of entries."""
    pairs = rng.permutation(len(a) * len(b))[:PAIRS]
    return float((a[pairs // len(b)] != b[pairs % len(b)]).mean())


def cluster_weights(
    weights: Float[np.ndarray, "features positions"], k: int, seed: int
) -> Int[np.ndarray, "features"]:
    """The original clustered the pruned weights, and measured the masks."""
    return np.asarray(KMeans(k, n_init=10, random_state=seed % 2**32).fit(weights).labels_)  # pyright: ignore[reportArgumentType]


def centers_ratio(bits: Bool[np.ndarray, "features bits"], k: int, seed: int) -> float:
    """The single and repeated scripts' ratio: mean center distance over mean point-to-center distance, Euclidean."""
    clusters = KMeans(k, n_init=10, random_state=seed % 2**32).fit(bits.astype(float))  # pyright: ignore[reportArgumentType]
    own = np.linalg.norm(bits - clusters.cluster_centers_[clusters.labels_], axis=1).mean()
    apart = pdist(clusters.cluster_centers_).mean()
    return float(apart / own) if own > 0 else float("inf")


def artefact_ratio(k: int, singletons: int) -> float:
    """What the ratio tends to when the other clusters are equally wide: k / (k - s)."""
    return k / (k - singletons) if singletons < k else float("inf")


def chance_of_artefact(k: int, tolerance: float) -> float:
    """Share of ratios between 1 and k, evenly spaced in their logarithm, that lie within `tolerance` of some k/(k-s).

    With many clusters such values are dense, so being near one is then no evidence.
    """
    ratios = np.geomspace(1, k, 100_001)
    known = np.array([artefact_ratio(k, s) for s in range(k)])
    return float((np.abs(ratios[:, None] / known - 1).min(axis=1) <= tolerance).mean())
