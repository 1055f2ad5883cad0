"""Pictures of a decomposition: one file per figure, each `draw(view) -> Figure`."""

from collections.abc import Callable
from typing import Any, Protocol


class Member(Protocol):
    """What a file of this folder has."""

    CAPTION: str
    draw: Callable[..., Any]
