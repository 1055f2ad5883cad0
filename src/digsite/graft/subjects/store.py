"""Trained couples kept in the user's cache, so that a second run with the same recipe trains nothing."""

from collections.abc import Callable
from hashlib import blake2b
from json import dumps
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from digsite.base.atomic import replace_file
from digsite.base.version import __version__
from digsite.config.folders import cache_dir

States = dict[str, dict[str, Tensor]]


def address(recipe: dict[str, Any]) -> Path:
    """A file named by everything that decides the weights."""
    text = dumps({**recipe, "torch": torch.__version__, "digsite": __version__}, sort_keys=True, default=str)
    return cache_dir() / "graft" / f"{blake2b(text.encode(), digest_size=12).hexdigest()}.safetensors"


def kept(recipe: dict[str, Any], compute: Callable[[], States]) -> States:
    """The stored weights, or freshly computed ones, which are then stored."""
    path = address(recipe)
    if path.is_file():
        return _unflatten(load_file(path))
    states = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as target:
        save_file(_flatten(states), target)
    return _unflatten(_flatten(states))


def _flatten(states: States) -> dict[str, Tensor]:
    return {
        f"{role}/{name}": t.contiguous().clone() for role, part in states.items() for name, t in part.items()
    }


def _unflatten(flat: dict[str, Tensor]) -> States:
    out: States = {}
    for key, t in flat.items():
        role, _, name = key.partition("/")
        out.setdefault(role, {})[name] = t
    return out
