"""Statistics of a mask: every class of this folder with `Statistic` as its base, several in a file.

What they look at is a `MaskView`: one mask along one axis, with the matrices that several of them share computed once.
"""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse.linalg import eigsh

from digsite.prune.core.hamming import measure_distances
from digsite.prune.core.packed import PackedMask

DENSE = 512  # up to this side all eigenvalues are cheaper than the iteration for one


class MaskView:
    """Features are the rows of `mask`."""

    def __init__(self, mask: PackedMask, engine: str = "auto") -> None:
        self.mask = mask
        self.engine = engine

    @cached_property
    def counts(self) -> Int[np.ndarray, "features"]:
        """Kept weights of every feature."""
        return self.mask.counts()

    @cached_property
    def distances(self) -> Int[np.ndarray, "features features"]:
        """All Hamming distances, computed once for every statistic that asks."""
        return measure_distances(self.mask, engine=self.engine)

    @cached_property
    def bit_counts(self) -> Int[np.ndarray, "bits"]:
        """Features that keep each position."""
        return self.mask.unpack().sum(axis=0)

    @cached_property
    def overlaps(self) -> Float[np.ndarray, "features features"]:
        """Positions kept by both features, from |a & b| = (|a| + |b| - d) / 2."""
        counts = self.counts.astype(np.float32)
        return (counts[:, None] + counts[None, :] - self.distances) / 2

    @cached_property
    def phi(self) -> Float[np.ndarray, "features features"]:
        """Density-adjusted similarity: the correlation of two features' bits; 0 for constant features, NaN on itself."""
        n = np.float64(self.mask.n_bits)
        counts = self.counts.astype(np.float64)
        spread = np.sqrt(counts * (n - counts))
        scale = np.outer(spread, spread)
        phi = np.zeros_like(scale)
        np.divide(n * self.overlaps - np.outer(counts, counts), scale, out=phi, where=scale > 0)
        np.fill_diagonal(phi, np.nan)
        return phi

    @cached_property
    def top_singular(self) -> float:
        """Largest singular value of M - r c^T / total, the mask less what its margins predict."""
        residual = self._residual_gram()
        if len(residual) <= DENSE:
            return float(np.sqrt(max(np.linalg.eigvalsh(residual)[-1], 0.0)))
        start = np.ones(len(residual)) + np.arange(len(residual)) / len(residual)
        top = eigsh(residual, k=1, v0=start, tol=1e-6, return_eigenvectors=False)  # pyright: ignore[reportArgumentType]
        return float(np.sqrt(max(top[0], 0.0)))

    def _residual_gram(self) -> Float[np.ndarray, "features features"]:
        """(M - r c^T/T)(M - r c^T/T)^T without forming the residual."""
        rows, columns = self.counts.astype(np.float64), self.bit_counts.astype(np.float64)
        total = max(rows.sum(), 1.0)
        seen = (self.mask.unpack() @ columns.astype(np.float32)).astype(np.float64) / total
        gram = self.overlaps.astype(np.float64)
        return (
            gram
            - np.outer(seen, rows)
            - np.outer(rows, seen)
            + np.outer(rows, rows) * (columns @ columns) / total**2
        )


class Statistic(ABC):
    """One number of a mask, and on which side of its null structure shows."""

    TAIL: ClassVar[str] = "upper"

    @abstractmethod
    def compute_value(self, view: MaskView) -> float:
        """The number, of the features that are the rows of the view's mask."""


Member = Statistic  # found by its name: the classes of this folder that derive from it
