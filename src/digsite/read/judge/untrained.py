"""Has this network been trained? Its matrices beside random ones of the same shape.

Initial weights are drawn entry by entry, so their spectra and the norms of their rows follow from the shape alone, for
every usual distribution of the entries and for every scale. Training adds directions that stand above that: a larger
first singular value, a smaller effective rank, rows and columns of uneven norm. Each is set against draws of its own
shape, one-sided, so that an orthogonal start, which is *more* even than chance, does not count as trained.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

STATISTICS = ("first singular value", "effective rank", "row norms", "column norms")
LEVEL = 0.01
_DRAWS, _SIDE, _SMALL = 64, 128, 4


@dataclass(frozen=True)
class TensorCheck:
    """One matrix: its four numbers as z-scores of random matrices of that shape, and the p-value of the strongest."""

    name: str
    z: tuple[float, ...]  # one for each of STATISTICS
    p: float
    expected_rank: float  # effective rank of random matrices of this shape
    rank: float


@dataclass(frozen=True)
class Training:
    """`p`: how often a network of random weights looks as trained as this one; `trained` if below the level."""

    p: float
    tensors: tuple[TensorCheck, ...]
    untouched: tuple[str, ...]  # gains that are all one, biases that are all zero

    @property
    def trained(self) -> bool:
        return self.p < LEVEL

    @property
    def answer(self) -> str:
        beyond = [t for t in self.tensors if t.p * len(self.tensors) < LEVEL]
        if not self.tensors:
            return "no matrix is large enough to be told from a random one."
        if not self.trained:
            return f"it looks untrained: none of its {len(self.tensors)} matrices departs from random ones of its shape ({say_p(self.p)})."
        shown = max(beyond or self.tensors, key=lambda t: max(t.z))
        return (
            f"it has been trained: {len(beyond)} of {len(self.tensors)} matrices depart from random ones of their shape ({say_p(self.p)}), "
            f"most {shown.name} (effective rank {shown.rank:.1f}, random {shown.expected_rank:.1f})."
        )


def say_p(p: float) -> str:
    """A p-value in words; what is rarer than 1e-12 is not told apart."""
    return f"p = {p:.2g}" if p >= 1e-12 else "p < 1e-12"


def check_training(tensors: Mapping[str, Tensor]) -> Training:
    """`tensors` are a network's weights by name; matrices of fewer than 4 rows or columns say nothing."""
    checks = [c for name, t in tensors.items() if t.ndim > 1 and (c := check_matrix(name, t)) is not None]
    untouched = [
        name
        for name, t in tensors.items()
        if t.ndim == 1 and len(t) > 1 and (bool((t == 1).all()) or bool((t == 0).all()))
    ]
    p = min(1.0, min((c.p for c in checks), default=1.0) * max(1, len(checks)))
    return Training(p, tuple(checks), tuple(untouched))


def check_matrix(name: str, weight: Tensor) -> TensorCheck | None:
    """One matrix against 64 draws of its shape; both are thinned to 128 rows and columns at most."""
    matrix = _thin(weight.detach().flatten(1).float())
    rows, columns = matrix.shape
    if min(rows, columns) < _SMALL or float(matrix.std()) == 0:
        return None
    mean, spread = null_statistics(rows, columns)
    own = measure_matrix(matrix[None])[0]
    z = (own - mean) / spread
    p = min(1.0, len(z) * float(norm.sf(float(z.max()))))
    return TensorCheck(
        name, tuple(float(v) for v in z), p, math.exp(-float(mean[1])), math.exp(-float(own[1]))
    )


def _thin(matrix: Tensor) -> Tensor:
    for axis in (0, 1):
        if matrix.shape[axis] > _SIDE:
            matrix = matrix.index_select(axis, torch.linspace(0, matrix.shape[axis] - 1, _SIDE).long())
    return matrix


def measure_matrix(matrices: Tensor) -> np.ndarray:
    """(n, 4): logs that do not depend on the scale and that training makes larger."""
    s = torch.linalg.svdvals(matrices).clamp_min(1e-12)
    share = s.square() / s.square().sum(1, keepdim=True)
    entropy = -(share * share.clamp_min(1e-30).log()).sum(1)
    rows, columns = (_unevenness(matrices.norm(dim=d)) for d in (2, 1))
    return torch.stack([share[:, 0].log(), -entropy, rows, columns], 1).double().numpy()


def _unevenness(norms: Tensor) -> Tensor:
    return norms.clamp_min(1e-12).log().std(1, unbiased=False).clamp_min(1e-6).log()


@lru_cache(maxsize=512)
def null_statistics(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the four numbers over random matrices of a shape; the spread a little widened,
    because it is estimated from 64 draws and because entries may be uniform, normal or cut normal.
    """
    g = torch.Generator().manual_seed(rows * 100_003 + columns)
    drawn = torch.randn(_DRAWS, rows, columns, generator=g)
    drawn[::2] = torch.rand(_DRAWS // 2, rows, columns, generator=g) - 0.5
    found = measure_matrix(drawn)
    return found.mean(0), 1.15 * found.std(0, ddof=1) + 1e-9
