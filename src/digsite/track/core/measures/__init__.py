"""The family of dimensionality measures: one file each, every one with `measure(spectrum) -> one number per stack`."""

from collections.abc import Callable
from typing import Any, Protocol


class Member(Protocol):
    """What a file of this folder has."""

    measure: Callable[..., Any]
