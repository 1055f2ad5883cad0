"""Datasets by name: images, sparse features, stories, text; nothing heavy is imported before it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digsite.data.images import ImageSet, load, names

_HOMES = {
    "ImageSet": "digsite.data.images",
    "load": "digsite.data.images",
    "names": "digsite.data.images",
}
__all__ = ["ImageSet", "load", "names"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'digsite.data' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
