"""Datasets by name: images, sparse features, stories, text; nothing heavy is imported before it is used."""

from typing import TYPE_CHECKING

from digsite.base.public import lazy_names

if TYPE_CHECKING:
    from digsite.data import sequences as sequences
    from digsite.data import stories as stories
    from digsite.data import text as text
    from digsite.data.config import SparseFeatures as SparseFeatures
    from digsite.data.images import ImageSet as ImageSet
    from digsite.data.images import load as load
    from digsite.data.images import names as names
    from digsite.data.tokenizers import load_tokenizer as load_tokenizer

__all__, __dir__, __getattr__ = lazy_names(__name__, __file__)
