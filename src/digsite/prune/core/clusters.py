"""Groups of features by Hamming distance, and numbers about them that singletons cannot fool."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError
from digsite.prune.core.hamming import distance_matrix
from digsite.prune.core.kmeans import kmeans
from digsite.prune.core.packed import PackedMask, features_of

METHODS = ("kmeans", "ward", "average")


@dataclass(frozen=True)
class ClusterMetrics:
    """`within` and `between` are means over pairs of features; a singleton has no pair and is counted apart."""

    sizes: list[int]
    n_singletons: int
    within: float
    between: float
    separation: float
    silhouette: float
    block: Float[
        np.ndarray, "k k"
    ]  # mean distance between clusters, inside them on the diagonal (NaN: singleton)

    @property
    def cohesion(self) -> list[float]:
        return np.diag(self.block).tolist()


@dataclass(frozen=True)
class Clustering:
    labels: Int[np.ndarray, "features"]
    metrics: ClusterMetrics
    inertia: float | None = None
    starts: Int[np.ndarray, "starts features"] | None = None


@public_method(
    holes=("*",), mask=Numbers(2, arrays_only=False), features=Numbers(1, whole=True, optional=True)
)
def cluster_features(
    mask: np.ndarray | PackedMask,
    k: int = 8,
    axis: str = "columns",
    method: str = "kmeans",
    *,
    features: Int[np.ndarray, "some"] | None = None,
    n_init: int = 10,
    seed: int = 0,
    engine: str = "auto",
) -> Clustering:
    """Cluster the features of a mask (or some of them) by their kept positions; a score of one cluster alone is NaN."""
    packed = features_of(mask, axis)
    packed = packed if features is None else packed.take(np.asarray(features))
    if k > packed.n_features:
        raise UsageError(f"{k} clusters were asked for, but there are {packed.n_features} features.")
    return cluster_distances(distance_matrix(packed, engine=engine), k, method, n_init=n_init, seed=seed)


def cluster_distances(
    distances: Int[np.ndarray, "n n"], k: int, method: str = "kmeans", *, n_init: int = 10, seed: int = 0
) -> Clustering:
    if method == "kmeans":
        found = kmeans(distances, k, np.random.default_rng(seed), n_init)
        return Clustering(found.labels, measure(distances, found.labels), found.inertia, found.all_labels)
    labels = cut(distances, k, method)
    return Clustering(labels, measure(distances, labels))


def cut(distances: Int[np.ndarray, "n n"], k: int, method: str) -> Int[np.ndarray, "n"]:
    """Hierarchical clusters. Ward's criterion is Euclidean, and the square root of Hamming is the distance of bits."""
    if method not in METHODS[1:]:
        raise UsageError(f"Unknown clustering method '{method}'; accepted are {', '.join(METHODS)}.")
    flat = squareform(distances.astype(np.float64), checks=False)
    tree = linkage(np.sqrt(flat) if method == "ward" else flat, method)
    return fcluster(tree, k, criterion="maxclust").astype(np.int64) - 1


def measure(distances: Int[np.ndarray, "n n"], labels: Int[np.ndarray, "n"]) -> ClusterMetrics:
    """Exact pair means: no pair is sampled and no singleton counts as a perfect cluster."""
    k = int(labels.max()) + 1
    member = (labels[:, None] == np.arange(k)).astype(np.float64)
    sizes = member.sum(axis=0)
    sums = distances.astype(np.float64) @ member
    totals = member.T @ sums
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    block = np.divide(totals, pairs, out=np.full((k, k), np.nan), where=pairs > 0)
    inside, inside_pairs = np.trace(totals), np.trace(pairs)
    outside, outside_pairs = totals.sum() - inside, pairs.sum() - inside_pairs
    within = inside / inside_pairs if inside_pairs else float("nan")
    between = outside / outside_pairs if outside_pairs else float("nan")
    return ClusterMetrics(
        sizes=sizes.astype(int).tolist(),
        n_singletons=int((sizes == 1).sum()),
        within=float(within),
        between=float(between),
        separation=float(between / within) if within else float("nan"),
        silhouette=_silhouette(sums, labels, sizes),
        block=block,
    )


def _silhouette(sums: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> float:
    """Mean silhouette from the distance sums that are at hand anyway; 0 for singletons, as scikit-learn has it."""
    if (sizes > 0).sum() < 2:
        return 0.0
    rows = np.arange(len(labels))
    own = sums[rows, labels] / np.maximum(sizes[labels] - 1, 1)
    others = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.inf)
    others[rows, labels] = np.inf
    nearest = others.min(axis=1)
    widest = np.maximum(own, nearest)
    value = np.divide(nearest - own, widest, out=np.zeros(len(labels)), where=widest > 0)
    return float(np.where(sizes[labels] > 1, value, 0.0).mean())
