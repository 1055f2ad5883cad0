"""Scores against what a toy model is known to do: one component per feature, or so many that always act together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.decompose.core.components import ALIVE_SHARE

Matrix = NDArray[np.float64]


def to_identity(importance: Matrix) -> NDArray[np.int64]:
    """The column order that brings the importances (features, C) closest to an identity."""
    rows = min(importance.shape)
    _, columns = linear_sum_assignment(-importance[:rows])
    rest = np.setdiff1d(np.arange(importance.shape[1]), columns)
    return np.concatenate([columns, rest])


def to_dense(importance: Matrix) -> NDArray[np.int64]:
    """Columns by falling mass."""
    return np.argsort(-importance.sum(0), kind="stable")


def identity_error(importance: Matrix, n: int, tolerance: float) -> int:
    """Entries that differ from one component per feature: off the diagonal too large, on it too small."""
    rows, columns = importance.shape
    if rows != n:
        raise UsageError(f"The identity pattern is for {n} features, and the model has {rows}.")
    if columns < n:
        raise UsageError(f"The identity pattern needs at least {n} components, and there are {columns}.")
    ordered = importance[:, to_identity(importance)]
    diagonal = np.eye(rows, columns, dtype=bool)
    return int((ordered[~diagonal] > tolerance).sum() + (ordered[diagonal] < 1 - tolerance).sum())


def dense_error(importance: Matrix, k: int, tolerance: float) -> int:
    """k columns must each reach one somewhere, all others must stay at zero."""
    if importance.shape[1] < k:
        raise UsageError(
            f"The dense pattern needs at least {k} components, and there are {importance.shape[1]}."
        )
    ordered = importance[:, to_dense(importance)]
    missing = (ordered[:, :k].max(0) < 1 - tolerance).sum()
    return int(missing + (ordered[:, k:] > tolerance).sum())


def owned_features(importance: Matrix, tolerance: float) -> NDArray[np.bool_]:
    """Features with exactly one important component that no other feature uses."""
    strong, touched = importance >= 1 - tolerance, importance > tolerance
    alone = touched.sum(0) == 1
    return (strong.sum(1) == 1) & (touched.sum(1) == 1) & (strong & alone).any(1)


@dataclass(frozen=True)
class Match:
    """How well single components give the columns of a weight matrix; one entry per input feature."""

    cosine: Tensor
    ratio: Tensor

    @property
    def mmcs(self) -> float:
        return float(self.cosine.mean())

    @property
    def ml2r(self) -> float:
        return float(self.ratio.mean())


def match_columns(v: Tensor, u: Tensor, weight: Tensor, *, alive_only: bool = False) -> Match:
    """For each row of `weight` (features, d) the component v_c u_c that points most along it, and its relative length.

    `alive_only` leaves out components of negligible norm, which in two dimensions can win by accident.
    """
    norms = v.norm(dim=0) * u.norm(dim=1)
    keep = norms > ALIVE_SHARE * norms.max() if alive_only else torch.ones_like(norms, dtype=torch.bool)
    v, u = v[:, keep], u[keep]
    made = v[:, :, None] * u[None]  # (features, C, d)
    cosine = torch.cosine_similarity(made, weight[:, None], dim=-1)
    best, index = cosine.max(1)
    length = made.norm(dim=-1).gather(1, index[:, None])[:, 0]
    return Match(best, length / weight.norm(dim=-1))


def alive(v: Tensor, u: Tensor) -> int:
    """Components of non-negligible norm."""
    norms = v.norm(dim=0) * u.norm(dim=1)
    return int((norms > ALIVE_SHARE * norms.max()).sum())
