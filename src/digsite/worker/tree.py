"""Nested dicts, lists, tensors, arrays and numbers in one safetensors file: state without pickle."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from digsite.base import atomic
from digsite.base.stored import Damaged


def save(path: Path, value: Any, **metadata: str) -> None:
    """Write whole or not at all, and on disk for good when this returns."""
    tensors: dict[str, torch.Tensor] = {}
    skeleton = json.dumps(_take_apart(value, tensors))
    told = {"tree": skeleton, **metadata}
    with atomic.replacing(path, fsync=True) as temporary:
        save_file(tensors, temporary, metadata={**told, "digest": _digest(told, tensors)})


def whole_metadata(path: Path) -> dict[str, str] | Damaged:
    """The metadata of a file whose every byte is as it was written, or why it cannot be believed.

    A file of an older digsite has no digest: of it only the form is known.
    """
    try:
        with safe_open(path, framework="pt") as file:
            told = dict(file.metadata() or {})
            digest = told.pop("digest", None)
            tensors = {name: file.get_tensor(name) for name in file.keys()} if digest else {}  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        return Damaged(str(error))
    if "tree" not in told:
        return Damaged("it is no checkpoint")
    if digest and digest != _digest(told, tensors):
        return Damaged("its bytes have changed since it was written")
    return told


def _digest(told: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> str:
    digest = blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())  # pyright: ignore[reportArgumentType]
    return digest.hexdigest()


def load(path: Path) -> Any:
    with safe_open(path, framework="pt") as file:
        return _put_together(json.loads(file.metadata()["tree"]), file)


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def _take_apart(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor | np.ndarray):
        array = isinstance(value, np.ndarray)
        name = str(len(tensors))
        tensors[name] = (torch.from_numpy(value.copy()) if array else value.detach()).contiguous().clone()
        return {"array" if array else "tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_take_apart(k, tensors), _take_apart(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {
            type(value).__name__ if type(value) in (list, tuple) else "tuple": [
                _take_apart(v, tensors) for v in value
            ]
        }
    if isinstance(value, np.generic):
        return value.item()
    assert value is None or isinstance(value, bool | int | float | str), (
        f"cannot store a {type(value).__name__}"
    )
    return value


def _put_together(node: Any, file: Any) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return file.get_tensor(content)
    if kind == "array":
        return file.get_tensor(content).numpy()
    if kind == "dict":
        return {_put_together(k, file): _put_together(v, file) for k, v in content}
    items = [_put_together(item, file) for item in content]
    return items if kind == "list" else tuple(items)
