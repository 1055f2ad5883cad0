"""Safetensors with tied tensors written once, whole or not at all; and weights kept in the cache by their recipe."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from digsite.base.atomic import replace_file
from digsite.base.contract import public_method
from digsite.base.settings import cache_dir, read_version
from digsite.weights.bundle import WeightBundle, bundle_module, untie_tensors


@public_method()
def write_weights(
    path: Path | str,
    weights: nn.Module | WeightBundle | Mapping[str, Tensor],
    meta: dict[str, Any] | None = None,
) -> WeightBundle:
    """Write tensors and metadata; names that share memory become one tensor and an alias.

    Aliases are metadata entries from the name left out to the name kept, as safetensors' own `load_model` reads them.

    `path` is replaced as a whole or not at all; `meta` values that are no text are written as JSON.

    `weights` is a module, a bundle, or tensors by name.
    """
    if isinstance(weights, nn.Module):
        weights = bundle_module(weights)
    bundle = weights if isinstance(weights, WeightBundle) else untie_tensors(weights, {})
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in (meta or {}).items()
    }
    clash = texts.keys() & bundle.tied.keys()
    assert not clash, f"metadata and tied tensors share the names {clash}"
    tensors = {name: _own_memory(tensor) for name, tensor in bundle.tensors.items()}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        save_tensors(tensors, temporary, {"format": "pt", **texts, **bundle.tied})
    return bundle


def _own_memory(tensor: Tensor) -> Tensor:
    """Contiguous and alone in its memory: safetensors refuses views, such as one member of a stack."""
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor.contiguous() if whole else tensor.clone(memory_format=torch.contiguous_format)


# Tensors in a safetensors file whose bytes depend on its content alone.

_LENGTH = 8  # bytes that say how long the header is


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write `tensors` (name to tensor) and `metadata` (text to text) to `path`.

    The library writes metadata in the order of a hash map that is seeded anew in each process, so that the same content
    comes out as different files. The header is put in order in place; its length stays.
    """
    save_file(dict(tensors), path, dict(metadata) if metadata else None)
    if metadata and len(metadata) > 1:
        _sort_header(path)


def _sort_header(path: Path) -> None:
    """`__metadata__` by key, in the same number of bytes: where every tensor lies stays as it is."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        entries = json.loads(file.read(length))
        entries["__metadata__"] = dict(sorted(entries["__metadata__"].items()))
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # shorter only where the library escapes a character that need not be
            file.seek(_LENGTH)
            file.write(text.ljust(length))


# Trained weights kept in the user's cache, so that a second run with the same recipe trains nothing.

States = dict[str, dict[str, Tensor]]
_SECONDS = "cpu_seconds"


def find_address(recipe: Mapping[str, Any], folder: str) -> Path:
    """A file named by everything that decides the weights, in a folder of the cache."""
    decides = {**recipe, "torch": torch.__version__, "digsite": read_version()}
    digest = blake2b(json.dumps(decides, sort_keys=True, default=str).encode(), digest_size=12).hexdigest()
    return cache_dir() / folder / f"{digest}.safetensors"


def read_or_compute(recipe: Mapping[str, Any], compute: Callable[[], States], folder: str) -> States:
    """The stored weights by role and name, or freshly computed ones, which are then stored.

    The log says where they lie and how many seconds of this machine's processors their training took.
    """
    path, log = find_address(recipe, folder), logging.getLogger("digsite")
    if path.is_file():
        with safe_open(path, "pt") as file:
            took = (file.metadata() or {}).get(_SECONDS, "an unknown number of")
            flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        log.info(f"trained before, in {took} CPU-seconds: {path}")
        return _unflatten_states(flat)
    start = time.process_time()
    states = compute()
    seconds = f"{time.process_time() - start:.0f}"
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = {
        f"{role}/{name}": t.contiguous().clone() for role, part in states.items() for name, t in part.items()
    }
    with replace_file(path) as target:
        save_tensors(flat, target, {_SECONDS: seconds})
    log.info(f"trained in {seconds} CPU-seconds, kept for the next run: {path}")
    return _unflatten_states(flat)


def _unflatten_states(flat: Mapping[str, Tensor]) -> States:
    """Back by role, from "ROLE/NAME"."""
    states: States = {}
    for key, tensor in flat.items():
        role, _, name = key.partition("/")
        states.setdefault(role, {})[name] = tensor
    return states
