"""Which weights can go, and what structure is in the pattern of what stays?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digsite.prune.clusters import cluster_features
    from digsite.prune.hamming import neighbours
    from digsite.prune.matrix import prune_matrix
    from digsite.prune.model import Recipe, prune_model
    from digsite.prune.packed import PackedMask, pack
    from digsite.prune.significance import null_test

_HOMES = {
    "PackedMask": "packed",
    "Recipe": "model",
    "cluster_features": "clusters",
    "neighbours": "hamming",
    "null_test": "significance",
    "pack": "packed",
    "prune_matrix": "matrix",
    "prune_model": "model",
}
__all__ = [
    "PackedMask",
    "Recipe",
    "cluster_features",
    "neighbours",
    "null_test",
    "pack",
    "prune_matrix",
    "prune_model",
]


def __getattr__(name: str) -> Any:
    """The room's config loads without torch, so nothing is imported before it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'digsite.prune' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
