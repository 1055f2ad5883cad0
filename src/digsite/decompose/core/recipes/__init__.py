"""Recipes by name: each file is one set of DecomposeConfig fields, with the reason for it."""

from __future__ import annotations

from typing import Any, Protocol

from digsite.base.errors import UsageError, nearest
from digsite.base.families import names, scan_one

PACKAGE = "digsite.decompose.core.recipes"


class Member(Protocol):
    """What a file of this folder has."""

    SETTINGS: dict[str, Any]  # fields of DecomposeConfig


def read_recipe(name: str) -> dict[str, Any]:
    """Fields of DecomposeConfig that the named recipe sets."""
    if name not in names(PACKAGE):
        raise UsageError(f"'{name}' is not a recipe. {nearest(name, names(PACKAGE))}")
    return dict(scan_one(PACKAGE, name).SETTINGS)
