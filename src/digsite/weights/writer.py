"""Safetensors with tied tensors written once, whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.atomic import replace_file
from digsite.base.contract import public_method
from digsite.weights.bundle import WeightBundle, of_module, untie
from digsite.weights.saved import save_tensors


@public_method()
def write_weights(
    path: Path, weights: nn.Module | WeightBundle | Mapping[str, Tensor], meta: dict[str, Any] | None = None
) -> WeightBundle:
    """Write tensors and metadata; names that share memory become one tensor and an alias.

    Aliases are metadata entries from the name left out to the name kept, as safetensors' own `load_model` reads them.
    """
    if isinstance(weights, nn.Module):
        weights = of_module(weights)
    bundle = weights if isinstance(weights, WeightBundle) else untie(weights, {})
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in (meta or {}).items()
    }
    clash = texts.keys() & bundle.tied.keys()
    assert not clash, f"metadata and tied tensors share the names {clash}"
    tensors = {name: _own(tensor) for name, tensor in bundle.tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        save_tensors(tensors, temporary, {"format": "pt", **texts, **bundle.tied})
    return bundle


def _own(tensor: Tensor) -> Tensor:
    """Contiguous and alone in its memory: safetensors refuses views, such as one member of a stack."""
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor.contiguous() if whole else tensor.clone(memory_format=torch.contiguous_format)
