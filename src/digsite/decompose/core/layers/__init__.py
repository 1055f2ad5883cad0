"""Layers that can be decomposed: each is one matrix (d_in, d_out) read at positions; one file per kind."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

from torch import nn

from digsite.base.families import scan_family


class Member(Protocol):
    """What a file of this folder has."""

    matches: Callable[..., bool]
    matrix: Callable[..., Any]
    read: Callable[..., Any]
    finish: Callable[..., Any]
    assign: Callable[..., None]


def layer_of(module: nn.Module) -> ModuleType | None:
    """The family member that handles `module`, or None when its kind is not supported."""
    members = scan_family("digsite.decompose.core.layers").values()
    return next((member for member in members if member.matches(module)), None)
