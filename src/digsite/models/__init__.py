"""Architectures: a torch-free config and a plain `nn.Module` for each, built by `build(config)`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digsite.models.config import MODELS, ModelConfig, parse
    from digsite.models.construct import build, empty
    from digsite.models.initial import SCHEMES, init
    from digsite.models.pretrained import load_model, save_model, to_huggingface
    from digsite.models.shapes import SHAPES, shape

_HOMES = {
    "MODELS": "digsite.models.config",
    "ModelConfig": "digsite.models.config",
    "parse": "digsite.models.config",
    "SHAPES": "digsite.models.shapes",
    "shape": "digsite.models.shapes",
    "build": "digsite.models.construct",
    "empty": "digsite.models.construct",
    "SCHEMES": "digsite.models.initial",
    "init": "digsite.models.initial",
    "load_model": "digsite.models.pretrained",
    "save_model": "digsite.models.pretrained",
    "to_huggingface": "digsite.models.pretrained",
}
__all__ = [
    "MODELS", "SCHEMES", "SHAPES", "ModelConfig", "build", "empty", "init", "load_model", "parse", "save_model",
    "shape", "to_huggingface",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Configs load without torch, so nothing is imported before it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'digsite.models' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
