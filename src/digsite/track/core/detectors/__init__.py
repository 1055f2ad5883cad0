"""The family of jump detectors: one file each, every one with `detect(values, **options) -> list[Change]`."""

from collections.abc import Callable
from typing import Any, Protocol


class Member(Protocol):
    """What a file of this folder has."""

    detect: Callable[..., Any]
