"""Kinds of jumps: k-means on scale-free features with the number of kinds chosen by the gap, one kind allowed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from digsite.track.core.jumps import Jump

FEATURES = ("log relative size", "log width", "direction", "log time", "depth", "coordination")
MOST = 6


@dataclass(frozen=True)
class Typology:
    """`k` = 1 means no clusters: the jumps are one cloud. Centers are in the features' own units."""

    k: int
    labels: np.ndarray
    centers: np.ndarray
    gaps: tuple[float, ...]
    silhouette: float | None


def features(jumps: Sequence[Jump], depth: Sequence[float], coordination: Sequence[float]) -> np.ndarray:
    """One row per jump; every column is free of the layer's units."""
    return np.array(
        [
            [
                np.log10(max(abs(jump.relative_change), 1e-12)),
                np.log10(max(jump.width, 1e-12)),
                1.0 if jump.change > 0 else -1.0,
                np.log10(1 + max(jump.step, 0)),
                deep,
                together,
            ]
            for jump, deep, together in zip(jumps, depth, coordination, strict=True)
        ]
    ).reshape(len(jumps), len(FEATURES))


def typology(table: np.ndarray, seed: int, *, references: int = 20) -> Typology:
    """Tibshirani's gap statistic against a Gaussian of the same covariance: elongated is not clustered.

    The smallest k whose gap is within one standard error of the next one's is chosen.
    """
    n = len(table)
    spread = table.std(0) if n else np.ones(table.shape[1])
    keep = spread > 1e-12
    if n < 20 or not keep.any():
        return Typology(1, np.zeros(n, dtype=int), table.mean(0, keepdims=True) if n else table, (), None)
    scaled = (table[:, keep] - table[:, keep].mean(0)) / spread[keep]
    rng = np.random.default_rng(seed)
    top = min(MOST, n // 10)
    fits = [_kmeans(scaled, k, seed) for k in range(1, top + 1)]
    cloud = [
        [np.log(_kmeans(_like(scaled, rng), k, seed)[0]) for k in range(1, top + 1)]
        for _ in range(references)
    ]
    null = np.array(cloud)
    gaps = null.mean(0) - np.log([max(inertia, 1e-300) for inertia, _ in fits])
    errors = null.std(0) * np.sqrt(1 + 1 / references)
    enough = [k for k in range(top - 1) if gaps[k] >= gaps[k + 1] - errors[k + 1]]
    k = (enough[0] if enough else top - 1) + 1
    labels = fits[k - 1][1]
    centers = np.stack([table[labels == c].mean(0) for c in range(k)])
    return Typology(k, labels, centers, tuple(map(float, gaps)), _silhouette(scaled, labels))


def _kmeans(x: np.ndarray, k: int, seed: int) -> tuple[float, np.ndarray]:
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than clusters is an answer here
        settings: Any = {"n_init": 4, "random_state": seed}
        fit: Any = KMeans(k, **settings).fit(x)
    return float(fit.inertia_), np.asarray(fit.labels_)


def _like(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Same covariance, no clusters; two-valued columns are drawn again from their own values."""
    draw = rng.multivariate_normal(
        np.zeros(x.shape[1]), np.cov(x.T).reshape(x.shape[1], -1), size=len(x), method="svd"
    )
    for column in range(x.shape[1]):
        if len(np.unique(x[:, column])) <= 2:
            draw[:, column] = rng.choice(x[:, column], len(x))
    return draw


def _silhouette(x: np.ndarray, labels: np.ndarray) -> float | None:
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(x, labels)) if 1 < len(np.unique(labels)) < len(x) else None
