"""One file per statistic of a mask: `compute(view) -> float`, and `TAIL`, the side on which structure shows."""

from collections.abc import Callable
from typing import Any, Protocol


class Member(Protocol):
    """What a file of this folder has."""

    TAIL: Any  # the side on which structure shows
    compute: Callable[..., float]
