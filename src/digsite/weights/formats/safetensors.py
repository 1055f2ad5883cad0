"""Safetensors files, memory-mapped: a tensor's pages are read when it is used."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from digsite.base.errors import DigsiteError
from digsite.weights.bundle import LazyTensors, Stored, WeightBundle
from digsite.weights.fp8 import dequantized


def matches(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(9)
    return path.suffix == ".safetensors" or head[8:] == b"{"


def read(path: Path) -> WeightBundle:
    try:
        file = safe_open(path, framework="pt")
    except SafetensorError as error:
        raise DigsiteError(f"'{path}' is not a whole safetensors file ({error}).") from None
    names = file.offset_keys()
    tensors = dequantized({name: _stored(file, name) for name in names})
    texts = file.metadata() or {}
    # The convention of safetensors.torch.save_model: the name that was left out, and the one that was kept.
    tied = {alias: name for alias, name in texts.items() if name in tensors and alias not in tensors}
    meta = {key: _value(text) for key, text in texts.items() if key not in tied}
    return WeightBundle(LazyTensors(tensors), {"format": "safetensors", **meta}, tied)


def _stored(file: Any, name: str) -> Stored:
    view = file.get_slice(name)
    return Stored(tuple(view.get_shape()), view.get_dtype(), partial(file.get_tensor, name))


def _value(text: str) -> Any:
    """Metadata are texts; what was written as JSON is read as JSON."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
