"""Architectures: a torch-free config and a plain `nn.Module` for each, built by `build(config)`."""

from typing import TYPE_CHECKING

from digsite.base.public import lazy_names

if TYPE_CHECKING:
    from digsite.models.config import MODELS as MODELS
    from digsite.models.config import ModelConfig as ModelConfig
    from digsite.models.config import parse as parse
    from digsite.models.construct import SCHEMES as SCHEMES
    from digsite.models.construct import build as build
    from digsite.models.construct import empty as empty
    from digsite.models.construct import init as init
    from digsite.models.pretrained import load_model as load_model
    from digsite.models.pretrained import save_model as save_model
    from digsite.models.pretrained import to_huggingface as to_huggingface
    from digsite.models.shapes import SHAPES as SHAPES
    from digsite.models.shapes import shape as shape

__all__, __dir__, __getattr__ = lazy_names(__name__, __file__)
