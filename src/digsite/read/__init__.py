"""Read: what a model's weights say about it, with a number for how far to trust the answer."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digsite.read.describe import features
    from digsite.read.invariance import check_invariance
    from digsite.read.reader import load_reader, train_reader

_HOMES = {
    "features": "describe",
    "check_invariance": "invariance",
    "load_reader": "reader",
    "train_reader": "reader",
}
__all__ = ["check_invariance", "features", "load_reader", "train_reader"]


def __getattr__(name: str) -> Any:
    """Configs load without torch, so nothing is imported before it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'digsite.read' has no attribute {name!r}")
    return getattr(import_module(f"digsite.read.{_HOMES[name]}"), name)
