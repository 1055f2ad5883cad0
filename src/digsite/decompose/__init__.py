"""Stochastic parameter decomposition: which simple parts add up to these weights, and which does each input use?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digsite.decompose.api import decompose, decompose_seeds
    from digsite.decompose.compare import compare
    from digsite.decompose.config import DecomposeConfig
    from digsite.decompose.decomposition import Decomposition

_HOMES = {
    "decompose": "api",
    "decompose_seeds": "api",
    "compare": "compare",
    "DecomposeConfig": "config",
    "Decomposition": "decomposition",
}
__all__ = ["DecomposeConfig", "Decomposition", "compare", "decompose", "decompose_seeds"]


def __getattr__(name: str) -> Any:
    """Settings load without torch, so nothing is imported before it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'digsite.decompose' has no attribute {name!r}")
    return getattr(import_module(f"digsite.decompose.{_HOMES[name]}"), name)
