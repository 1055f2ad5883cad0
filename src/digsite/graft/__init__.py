"""Graft: move what one network knows into another, with a ledger of what it cost and where it came from."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digsite.graft.api import Grafted, graft
    from digsite.graft.forensics import LayerReport, inspect
    from digsite.graft.pair import Pair

_HOMES = {
    "Grafted": "digsite.graft.api",
    "LayerReport": "digsite.graft.forensics",
    "Pair": "digsite.graft.pair",
    "graft": "digsite.graft.api",
    "inspect": "digsite.graft.forensics",
}
__all__ = ["Grafted", "LayerReport", "Pair", "graft", "inspect"]


def __getattr__(name: str) -> Any:
    """Configs load without torch, so nothing is imported before it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'digsite.graft' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
