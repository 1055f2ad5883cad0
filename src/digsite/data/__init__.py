"""Datasets by name: images, sparse features, stories, text; nothing heavy is imported before it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digsite.data import hub, sequences, sparse_features, stories, text
    from digsite.data.images import ImageSet, load, names
    from digsite.data.sparse_config import SparseFeatures
    from digsite.data.tokenizers import load_tokenizer

_MODULES = ("hub", "sequences", "sparse_features", "stories", "text")
_HOMES = {
    "ImageSet": "images",
    "load": "images",
    "names": "images",
    "load_tokenizer": "tokenizers",
    "SparseFeatures": "sparse_config",
}
__all__ = [
    "ImageSet", "SparseFeatures", "hub", "load", "load_tokenizer", "names", "sequences", "sparse_features", "stories",
    "text",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"digsite.data.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'digsite.data' has no attribute {name!r}")
    return getattr(import_module(f"digsite.data.{_HOMES[name]}"), name)
