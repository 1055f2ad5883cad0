"""Do clusters come back: from other positions of the same mask, and from the mask of another calibration set?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.metrics import adjusted_rand_score

from digsite.prune.core.clusters import cluster_distances
from digsite.prune.core.hamming import distance_matrix
from digsite.prune.core.neighborhood import around
from digsite.prune.core.packed import PackedMask


@dataclass(frozen=True)
class Asked:
    """Which clusters: those of the mask study."""

    centers: Sequence[int]
    size: int
    k_values: Sequence[int]
    method: str = "kmeans"
    n_init: int = 10
    seed: int = 0


def agreement(
    features: PackedMask, others: Sequence[PackedMask], asked: Asked, bootstraps: int
) -> dict[str, Float[np.ndarray, "ks"]]:
    """Mean adjusted Rand index, over centers, with clusters of `bootstraps` resampled positions and of other masks.

    The features clustered are the center's neighbors in the first mask, every time.
    """
    rng = np.random.default_rng(asked.seed)
    rows: dict[str, list] = {"bootstrap": [], "calibration": []}
    for place, center in enumerate(asked.centers):
        members = around(features, int(center), asked.size).members
        bits = features.take(members).unpack()
        first = _labels(distance_matrix(features.take(members)), asked, place)
        again = {
            "bootstrap": [_labels(resampled(bits, rng), asked, place) for _ in range(bootstraps)],
            "calibration": [_labels(distance_matrix(one.take(members)), asked, place) for one in others],
        }
        for kind, found in again.items():
            rows[kind] += [[adjusted_rand_score(a, b) for a, b in zip(first, one)] for one in found]
    return {kind: np.mean(values, axis=0) for kind, values in rows.items() if values}


def resampled(bits: Bool[np.ndarray, "n bits"], rng: np.random.Generator) -> Int[np.ndarray, "n n"]:
    """Hamming distances over positions drawn with replacement."""
    n_bits = bits.shape[1]
    times = rng.multinomial(n_bits, np.full(n_bits, 1 / n_bits)).astype(np.float32)
    kept = bits.astype(np.float32)
    only = (kept * times) @ (1 - kept).T  # kept by the first alone
    return np.rint(only + only.T).astype(np.int64)


def _labels(distances: np.ndarray, asked: Asked, place: int) -> list[np.ndarray]:
    return [
        cluster_distances(
            distances, k, asked.method, n_init=asked.n_init, seed=asked.seed + 1000 * place + k
        ).labels
        for k in asked.k_values
    ]
