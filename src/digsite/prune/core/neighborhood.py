"""The ball around one feature: its nearest features, their distances, and its clusters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from digsite.base.errors import UsageError
from digsite.prune.core.clusters import Clustering, cluster_distances
from digsite.prune.core.hamming import distance_matrix, neighbours
from digsite.prune.core.packed import PackedMask


@dataclass(frozen=True)
class Neighborhood:
    """`members[0]` is the center; the others follow by distance, ties to the lower index."""

    center: int
    members: Int[np.ndarray, "n"]
    to_center: Int[np.ndarray, "n"]
    distances: Int[np.ndarray, "n n"]


def around(features: PackedMask, center: int, size: int, engine: str = "auto") -> Neighborhood:
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
        distance_matrix(features.take(members), engine=engine),
    )


def cluster_all(
    ball: Neighborhood, k_values: Sequence[int], method: str, n_init: int, seed: int
) -> dict[int, Clustering]:
    """Clusterings for every k; one distance matrix serves them all."""
    for k in k_values:
        if not 2 <= k <= len(ball.members):
            raise UsageError(f"{k} clusters were asked for, but there are {len(ball.members)} features.")
    return {k: cluster_distances(ball.distances, k, method, n_init=n_init, seed=seed + k) for k in k_values}


def separations(
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
    for place, center in enumerate(centers):
        ball = around(features, center, size, engine)
        found = cluster_all(ball, k_values, method, n_init, seed + 1000 * place)
        rows.append([found[k].metrics.separation for k in k_values])
    return np.asarray(rows)
