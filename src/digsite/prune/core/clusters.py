"""Groups of features by Hamming distance: k-means, trees, the ball around one feature, and scores that singletons cannot fool."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError
from digsite.prune.core.hamming import measure_distances, neighbours
from digsite.prune.core.packed import PackedMask, orient_features

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
        """Mean distance inside of each cluster; NaN for a singleton, which has no pair."""
        return np.diag(self.block).tolist()


@dataclass(frozen=True)
class FeatureClusters:
    """The cluster of every feature, and how far apart the clusters are; the rest is known of k-means alone.

    `starts` are the answers of all of its starts.
    """

    labels: Int[np.ndarray, "features"]
    metrics: ClusterMetrics
    inertia: float | None = None
    starts: Int[np.ndarray, "starts features"] | None = None
    settled: Int[np.ndarray, "starts"] | None = None  # see KMeans

    @property
    def convergence(self) -> str:
        """Whether k-means came to rest, and how far its starts agree: one lucky start of ten is no cluster."""
        if self.settled is None or self.starts is None:
            return ""
        reached = self.settled[self.settled > 0]
        steps = f" after {reached.max()} steps at most" if len(reached) else ""
        same = int((self.starts == self.labels).all(axis=1).sum())
        n = len(self.settled)
        return f"{len(reached)} of {n} starts came to rest{steps}; {same} of {n} end as the best one, label for label"


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
) -> FeatureClusters:
    """Cluster the features of a mask (or some of them) by their kept positions; a score of one cluster alone is NaN.

    `mask` (out, in) or packed; `axis`: features are its `columns` (inputs) or `rows` (outputs); `features` are
    numbers of some of them; `n_init` starts of k-means; `engine` of the distances.

    `method` is kmeans, ward or average, and `seed` draws the starts of the first.
    """
    packed = orient_features(mask, axis)
    packed = packed if features is None else packed.take(np.asarray(features))
    if k > packed.n_features:
        raise UsageError(f"{k} clusters were asked for, but there are {packed.n_features} features.")
    return cluster_distances(measure_distances(packed, engine=engine), k, method, n_init=n_init, seed=seed)


def cluster_distances(
    distances: Integer[np.ndarray, "n n"], k: int, method: str = "kmeans", *, n_init: int = 10, seed: int = 0
) -> FeatureClusters:
    """From a matrix of whole Hamming distances (n, n), so that one set of distances serves many k."""
    if method == "kmeans":
        result = run_kmeans(distances, k, np.random.default_rng(seed), n_init)
        metrics = measure_clusters(distances, result.labels)
        return FeatureClusters(result.labels, metrics, result.inertia, result.all_labels, result.settled)
    labels = cut_tree(distances, k, method)
    return FeatureClusters(labels, measure_clusters(distances, labels))


def cut_tree(distances: Integer[np.ndarray, "n n"], k: int, method: str) -> Int[np.ndarray, "n"]:
    """Hierarchical clusters. Ward's criterion is Euclidean, and the square root of Hamming is the distance of bits."""
    if method not in METHODS[1:]:
        raise UsageError(f"Unknown clustering method '{method}'; accepted are {', '.join(METHODS)}.")
    flat = squareform(distances.astype(np.float64), checks=False)
    tree = linkage(np.sqrt(flat) if method == "ward" else flat, method)
    return fcluster(tree, k, criterion="maxclust").astype(np.int64) - 1


def measure_clusters(distances: Integer[np.ndarray, "n n"], labels: Int[np.ndarray, "n"]) -> ClusterMetrics:
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
        silhouette=_mean_silhouette(sums, labels, sizes),
        block=block,
    )


def _mean_silhouette(sums: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> float:
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


# k-means on masks from their Hamming distances alone: for bits, the distance matrix is the Gram matrix.
#
# Written by hand: scikit-learn needs one float per bit, and every k, start and seed here shares one small matrix.


@dataclass(frozen=True)
class KMeans:
    """The best start's labels, its summed squared distance, and every start's labels."""

    labels: Int[np.ndarray, "points"]
    inertia: float
    all_labels: Int[np.ndarray, "starts points"]  # every start's answer, for their agreement
    inertias: Float[np.ndarray, "starts"]
    settled: Int[np.ndarray, "starts"]  # the step after which no point moved; 0 where the steps ran out first


def run_kmeans(
    distances: Integer[np.ndarray, "points points"],
    k: int,
    rng: np.random.Generator,
    n_init: int = 10,
    most: int = 100,
) -> KMeans:
    """Lloyd's algorithm from k-means++ starts, all starts at once; the lowest inertia wins, ties to the first."""
    if not 1 <= k <= len(distances):
        raise UsageError(f"{k} clusters were asked for, but there are {len(distances)} features.")
    exact = distances.astype(np.float64)  # sums of integers stay exact
    labels = _assign_points(exact[:, _draw_starts(exact, k, n_init, rng)].transpose(1, 0, 2))
    settled = np.zeros(n_init, np.int64)
    for step in range(1, most + 1):
        to_center, _ = _to_centers(exact, labels, k)
        fresh = _refill_empty(_assign_points(to_center), to_center, k)
        still = (fresh == labels).all(axis=1)
        settled = np.where(still, np.where(settled > 0, settled, step), 0)
        if still.all():
            break
        labels = fresh
    _, inertias = _to_centers(exact, labels, k)
    best = int(inertias.argmin())
    return KMeans(labels[best], float(inertias[best]), labels, inertias, settled)


def _draw_starts(
    distances: np.ndarray, k: int, n_init: int, rng: np.random.Generator
) -> Int[np.ndarray, "starts k"]:
    """k-means++: the next center is drawn with probability proportional to the squared distance, which Hamming is."""
    n = len(distances)
    centers = np.empty((n_init, k), np.int64)
    centers[:, 0] = rng.integers(0, n, n_init)
    closest = distances[centers[:, 0]]
    for cluster in range(1, k):
        cumulative = closest.cumsum(axis=1)
        total = cumulative[:, -1:]
        drawn = (cumulative <= rng.random((n_init, 1)) * total).sum(axis=1)
        centers[:, cluster] = np.where(total[:, 0] > 0, np.minimum(drawn, n - 1), rng.integers(0, n, n_init))
        closest = np.minimum(closest, distances[centers[:, cluster]])
    return centers


def _assign_points(to_center: Float[np.ndarray, "starts points k"]) -> Int[np.ndarray, "starts points"]:
    """The nearest center of each point; ties go to the lower number, so that an answer can be repeated."""
    return to_center.argmin(axis=2)


def _to_centers(
    distances: np.ndarray, labels: Int[np.ndarray, "starts points"], k: int
) -> tuple[Float[np.ndarray, "starts points k"], Float[np.ndarray, "starts"]]:
    """|x - mean|^2 = mean distance to the members - half the mean distance between members; and the inertias."""
    n_init, n = labels.shape
    member = labels[:, :, None] == np.arange(k)
    sizes = member.sum(axis=1)
    sums = (distances @ member.transpose(1, 0, 2).reshape(n, -1).astype(np.float64)).reshape(n, n_init, k)
    sums = sums.transpose(1, 0, 2)
    inside = (sums * member).sum(axis=1)
    some = np.maximum(sizes, 1)
    to_center = sums / some[:, None] - (inside / (2 * some**2))[:, None]
    to_center[np.broadcast_to((sizes == 0)[:, None], to_center.shape)] = np.inf
    return to_center, (inside / (2 * some)).sum(axis=1)


def _refill_empty(labels: np.ndarray, to_center: np.ndarray, k: int) -> np.ndarray:
    """An emptied cluster gets the point farthest from its center, as scikit-learn does it."""
    sizes = (labels[:, :, None] == np.arange(k)).sum(axis=1)
    for start, empty in np.argwhere(sizes == 0):
        own = np.take_along_axis(to_center[start], labels[start][:, None], axis=1)[:, 0].copy()
        counts = np.bincount(labels[start], minlength=k)
        own[counts[labels[start]] == 1] = -np.inf  # do not empty another cluster
        if own.max() > 1e-9:
            labels[start, own.argmax()] = empty
    return labels


# The ball around one feature: its nearest features, their distances, and its clusters.


@dataclass(frozen=True)
class Neighborhood:
    """`members[0]` is the center; the others follow by distance, ties to the lower index."""

    center: int
    members: Int[np.ndarray, "n"]
    to_center: Integer[np.ndarray, "n"]
    distances: Integer[np.ndarray, "n n"]


def find_neighborhood(features: PackedMask, center: int, size: int, engine: str = "auto") -> Neighborhood:
    """The center and its size - 1 nearest features."""
    if not 2 <= size <= features.n_features:
        raise UsageError(
            f"A neighborhood of {size} features was asked for, but there are {features.n_features}.",
            hint=f"Choose 2 to {features.n_features}.",
        )
    to_center, index = neighbours(features, size - 1, "rows", int(center), engine=engine)
    members = np.concatenate([[center], index])
    return Neighborhood(
        int(center),
        members,
        np.concatenate([[0], to_center]),
        measure_distances(features.take(members), engine=engine),
    )


def summarize_distances(ball: Neighborhood, labels: Int[np.ndarray, "n"]) -> dict[str, dict[str, float]]:
    """Mean, standard deviation and range of the Hamming distances: to the center, and over pairs by cluster.

    `labels`: the cluster of each member. A row without a pair (every cluster a singleton) is left out.
    """
    pairs = ball.distances[upper := np.triu_indices(len(ball.members), 1)]
    same = labels[upper[0]] == labels[upper[1]]
    parts = {
        "to the feature": ball.to_center[1:],
        "all pairs": pairs,
        "within clusters": pairs[same],
        "between clusters": pairs[~same],
    }
    return {
        name: {
            "pairs": float(len(values)),
            "mean": float(values.mean()),
            "sd": float(values.std()),
            "least": float(values.min()),
            "most": float(values.max()),
        }
        for name, values in parts.items()
        if len(values)
    }


def cluster_all(
    ball: Neighborhood, k_values: Sequence[int], method: str, n_init: int, seed: int
) -> dict[int, FeatureClusters]:
    """Clusterings for every k; one distance matrix serves them all."""
    for k in k_values:
        if not 2 <= k <= len(ball.members):
            raise UsageError(f"{k} clusters were asked for, but there are {len(ball.members)} features.")
    return {k: cluster_distances(ball.distances, k, method, n_init=n_init, seed=seed + k) for k in k_values}


def measure_separations(
    features: PackedMask,
    centers: Sequence[int],
    size: int,
    k_values: Sequence[int],
    *,
    method: str = "kmeans",
    n_init: int = 10,
    seed: int = 0,
    engine: str = "auto",
) -> Float[np.ndarray, "centers ks"]:
    """Between over within, over pairs, of the neighborhoods of some centers: the study's number, for mask and nulls."""
    rows = []
    for row, center in enumerate(centers):
        ball = find_neighborhood(features, center, size, engine)
        clusterings = cluster_all(ball, k_values, method, n_init, seed + 1000 * row)
        rows.append([clusterings[k].metrics.separation for k in k_values])
    return np.asarray(rows)
