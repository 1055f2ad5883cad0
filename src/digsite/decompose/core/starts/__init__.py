"""Where parts start: each file gives the first V (d_in, C) and U (C, d_out) of one matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import list_members, scan_member

PACKAGE = "digsite.decompose.core.starts"


class Member(Protocol):
    """What a file of this folder has."""

    start: Callable[..., tuple[Tensor, Tensor]]
    ADDS_UP: bool  # whether the parts add up to the matrix from the start, whatever it is


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


def start_parts(scheme: str, seen: Seen) -> tuple[Tensor, Tensor]:
    """V (d_in, n) and U (n, d_out) by the named scheme."""
    if scheme not in list_members(PACKAGE):
        raise UsageError(
            f"'{scheme}' is not a start of parts (init). {name_nearest(scheme, list_members(PACKAGE))}"
        )
    return scan_member(PACKAGE, scheme).start(seen)
