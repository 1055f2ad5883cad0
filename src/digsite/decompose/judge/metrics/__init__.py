"""Measurements of a decomposition on fresh batches: one file per metric, each `compute(settings, view) -> numbers`."""

from collections.abc import Callable
from typing import Any, Protocol


class Member(Protocol):
    """What a file of this folder has."""

    Settings: type[Any]
    compute: Callable[..., dict[str, float]]
