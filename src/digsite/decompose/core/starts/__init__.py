"""Where parts start: each class gives the first V (d_in, C) and U (C, d_out) of one matrix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import list_members, scan_member

PACKAGE = "digsite.decompose.core.starts"
TOLERANCE = 1e-5  # singular values below this share of the largest are what float32 leaves of a zero


@dataclass(frozen=True)
class Seen:
    """What a start may look at: the matrix (d_in, d_out), how many parts are wanted, and what the site reads.

    `draw(name, *shape)` gives standard normal numbers from a named stream; `read(V)` gives the inner activations
    (positions, columns) of any columns V (d_in, columns) on the first batches.
    """

    matrix: Tensor
    n: int
    draw: Callable[..., Tensor]
    read: Callable[[Tensor], Tensor]


class Start(ABC):
    """One way to begin: a function of what is seen; no object is ever made of it."""

    ADDS_UP: bool = False
    """The parts add up to the matrix from the start, whatever it is."""

    @staticmethod
    @abstractmethod
    def make_parts(seen: Seen) -> tuple[Tensor, Tensor]:
        """V (d_in, n) and U (n, d_out)."""


Member = Start


def find_start(scheme: str) -> type[Start]:
    """The start of this name (`init` in the settings)."""
    if scheme not in list_members(PACKAGE):
        raise UsageError(
            f"'{scheme}' is not a start of parts (init). {name_nearest(scheme, list_members(PACKAGE))}"
        )
    return scan_member(PACKAGE, scheme)


def numerical_rank(matrix: Tensor) -> int:
    """Singular values of a matrix (d_in, d_out) that are more than rounding errors."""
    values = torch.linalg.svdvals(matrix.double())
    return int((values > TOLERANCE * values[:1].clamp_min(1e-30)).sum()) if values.max() > 1e-12 else 0


def truncate_svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left vectors (d_in, r), values (r,), right vectors (r, d_out) in float64, r being the numerical rank."""
    r = numerical_rank(matrix)
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    return left[:, :r], values[:r], right[:r]


def fill_up(v: Tensor, u: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
    """The n strongest parts with unit columns in V; parts to spare read something random and write nothing."""
    sizes = v.norm(dim=0)
    v, u = v / sizes.clamp_min(1e-30), u * sizes[:, None]
    order = u.norm(dim=1).argsort(descending=True, stable=True)[: seen.n]
    v, u = v[:, order], u[order]
    spare = seen.n - v.shape[1]
    if spare:
        more = seen.draw("V", v.shape[0], spare).to(v)
        v = torch.cat([v, more / more.norm(dim=0)], 1)
        u = torch.cat([u, u.new_zeros(spare, u.shape[1])])
    return v.to(seen.matrix.dtype), u.to(seen.matrix.dtype)
