"""Stored collections of trained networks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digsite.zoo.ceiling import Ceiling, noise_ceiling
    from digsite.zoo.split import Split
    from digsite.zoo.store import Architecture, Part, ZooWriter
    from digsite.zoo.zoo import Zoo

_HOMES = {
    "Architecture": "store",
    "Ceiling": "ceiling",
    "Part": "store",
    "Split": "split",
    "Zoo": "zoo",
    "ZooWriter": "store",
    "noise_ceiling": "ceiling",
}
__all__ = ["Architecture", "Ceiling", "Part", "Split", "Zoo", "ZooWriter", "noise_ceiling"]


def __getattr__(name: str) -> Any:
    """Configs load without torch, so nothing is imported before it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'digsite.zoo' has no attribute {name!r}")
    return getattr(import_module(f"digsite.zoo.{_HOMES[name]}"), name)
