"""k-means on masks from their Hamming distances alone: for bits, the distance matrix is the Gram matrix.

Written by hand: scikit-learn needs one float per bit, and every k, start and seed here shares one small matrix.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from digsite.base.errors import UsageError


@dataclass(frozen=True)
class KMeans:
    labels: Int[np.ndarray, "points"]
    inertia: float
    all_labels: Int[np.ndarray, "starts points"]  # every start's answer, for their agreement
    inertias: Float[np.ndarray, "starts"]


def kmeans(
    distances: Int[np.ndarray, "points points"],
    k: int,
    rng: np.random.Generator,
    n_init: int = 10,
    most: int = 100,
) -> KMeans:
    """Lloyd's algorithm from k-means++ starts, all starts at once; the lowest inertia wins, ties to the first."""
    if not 1 <= k <= len(distances):
        raise UsageError(f"{k} clusters were asked for, but there are {len(distances)} features.")
    exact = distances.astype(np.float64)  # sums of integers stay exact
    labels = _assign(exact[:, _starts(exact, k, n_init, rng)].transpose(1, 0, 2))
    for _ in range(most):
        to_center, _ = _to_centers(exact, labels, k)
        fresh = _refill(_assign(to_center), to_center, k)
        if np.array_equal(fresh, labels):
            break
        labels = fresh
    _, inertias = _to_centers(exact, labels, k)
    best = int(inertias.argmin())
    return KMeans(labels[best], float(inertias[best]), labels, inertias)


def _starts(
    distances: np.ndarray, k: int, n_init: int, rng: np.random.Generator
) -> Int[np.ndarray, "starts k"]:
    """k-means++: the next center is drawn with probability proportional to the squared distance, which Hamming is."""
    n = len(distances)
    centers = np.empty((n_init, k), np.int64)
    centers[:, 0] = rng.integers(0, n, n_init)
    closest = distances[centers[:, 0]]
    for place in range(1, k):
        cumulative = closest.cumsum(axis=1)
        total = cumulative[:, -1:]
        drawn = (cumulative <= rng.random((n_init, 1)) * total).sum(axis=1)
        centers[:, place] = np.where(total[:, 0] > 0, np.minimum(drawn, n - 1), rng.integers(0, n, n_init))
        closest = np.minimum(closest, distances[centers[:, place]])
    return centers


def _assign(to_center: Float[np.ndarray, "starts points k"]) -> Int[np.ndarray, "starts points"]:
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


def _refill(labels: np.ndarray, to_center: np.ndarray, k: int) -> np.ndarray:
    """An emptied cluster gets the point farthest from its center, as scikit-learn does it."""
    sizes = (labels[:, :, None] == np.arange(k)).sum(axis=1)
    for start, empty in np.argwhere(sizes == 0):
        own = np.take_along_axis(to_center[start], labels[start][:, None], axis=1)[:, 0].copy()
        counts = np.bincount(labels[start], minlength=k)
        own[counts[labels[start]] == 1] = -np.inf  # do not empty another cluster
        if own.max() > 1e-9:
            labels[start, own.argmax()] = empty
    return labels
