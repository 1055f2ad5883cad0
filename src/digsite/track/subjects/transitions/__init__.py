"""The family of trainings with a known answer: one file each, every one with `setup(task, config) -> Setup`."""

from collections.abc import Callable
from typing import Any, Protocol


class Member(Protocol):
    """What a file of this folder has."""

    setup: Callable[..., Any]
