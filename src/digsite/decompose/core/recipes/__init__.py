"""Recipes by name: each file is one set of DecomposeConfig fields, with the reason for it."""

from __future__ import annotations

from typing import Any, Protocol

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import list_members, scan_member

PACKAGE = "digsite.decompose.core.recipes"


class Member(Protocol):
    """What a file of this folder has."""

    SETTINGS: dict[str, Any]  # fields of DecomposeConfig


def read_recipe(name: str) -> dict[str, Any]:
    """Fields of DecomposeConfig that the named recipe sets."""
    if name not in list_members(PACKAGE):
        raise UsageError(f"'{name}' is not a recipe. {name_nearest(name, list_members(PACKAGE))}")
    return dict(scan_member(PACKAGE, name).SETTINGS)
