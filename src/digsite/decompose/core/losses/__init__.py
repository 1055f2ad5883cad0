"""Training losses: each is one term of the total, with its own coefficient; one file per kind."""

from collections.abc import Callable
from typing import Any, Protocol

from digsite.base.families import read_tag


class Member(Protocol):
    """What a file of this folder has."""

    Settings: type[Any]
    compute: Callable[..., Any]
    noise: Callable[..., Any]
    ATTACKS: bool = (
        False  # takes gradients of its own inside the loss: cannot be recomputed, nor its memory watched
    )
    ONE_MODULE: bool = False  # is about a single decomposed module


def loss_tag(kind: str, tag: str) -> Any:
    """What the loss `kind` says under `tag`, so that nobody asks for it by name."""
    return read_tag(__name__, kind, tag)
