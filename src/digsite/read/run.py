"""The methods of this room: `run_name` of each file `experiments/name.py`, found and not listed."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from digsite.base.families import list_members

EXPERIMENTS = "digsite.read.experiments"


def find_methods() -> dict[str, Callable[[Any, Any], None]]:
    """Each experiment by its name: a file that has no `run_name` helps another one and is no method."""
    modules = {name: import_module(f"{EXPERIMENTS}.{name}") for name in list_members(EXPERIMENTS)}
    found = {name: getattr(module, f"run_{name}", None) for name, module in modules.items()}
    return {name: method for name, method in found.items() if method is not None}


METHODS = find_methods()
