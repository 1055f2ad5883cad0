"""Does a network look like those of the zoo a reader learned from? Distance to its nearest training networks."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

_NEIGHBORS, _DIMENSIONS, _CLIP, _KEEP = 5, 16, 6.0, 600
OUTSIDE = 0.01


@dataclass(frozen=True)
class Membership:
    center: np.ndarray
    scale: np.ndarray
    directions: np.ndarray  # (features, dimensions), whitened
    points: np.ndarray  # training networks in those
    distances: np.ndarray  # their own distances to the others, sorted

    def p_values(self, features: np.ndarray) -> np.ndarray:
        """Share of the zoo's own members that lie at least as far out; below 0.01 counts as outside."""
        spots = self._project(features)
        near = cKDTree(self.points).query(spots, k=min(_NEIGHBORS, len(self.points)))[0]
        far = np.asarray(near).reshape(len(spots), -1).mean(1)
        at_least = len(self.distances) - np.searchsorted(self.distances, far, side="left")
        return (at_least + 1) / (len(self.distances) + 1)

    def _project(self, features: np.ndarray) -> np.ndarray:
        return _standard(features, self.center, self.scale) @ self.directions

    def tensors(self) -> dict[str, Tensor]:
        return {f.name: torch.from_numpy(np.ascontiguousarray(getattr(self, f.name))) for f in fields(self)}


def restore(tensors: dict[str, Tensor]) -> Membership:
    return Membership(**{k: t.numpy() for k, t in tensors.items()})


def fit(features: np.ndarray, rng: np.random.Generator) -> Membership:
    """Half of the members are the reference, the other half say how far a member usually is from them."""
    center = np.nan_to_num(np.nanmedian(features, 0))
    scale = 1.4826 * np.nan_to_num(np.nanmedian(np.abs(features - center), 0)) + 1e-6
    z = _standard(features, center, scale)
    _, s, v = np.linalg.svd(z - z.mean(0), full_matrices=False)
    k = min(_DIMENSIONS, len(s))
    directions = v[:k].T / (s[:k] / np.sqrt(len(z)) + 1e-9)
    spots = z @ directions
    order = rng.permutation(len(spots))
    points, held = spots[order[: len(spots) // 2]][:_KEEP], spots[order[len(spots) // 2 :]]
    near = cKDTree(points).query(held, k=min(_NEIGHBORS, len(points)))[0]
    return Membership(
        center, scale, directions, points, np.sort(np.asarray(near).reshape(len(held), -1).mean(1))
    )


def _standard(features: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Missing numbers (layers that a network lacks) sit at the center; runaway ones are held at the rim."""
    return np.nan_to_num(((features - center) / scale).clip(-_CLIP, _CLIP))
