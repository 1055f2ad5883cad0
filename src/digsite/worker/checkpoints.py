"""Checkpoints of a run, each with what the journal was at its moment."""

import json
import time
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
from digsite.record.journal import Journal, Mark
from digsite.record.layout import RunDir


class Checkpoints:
    """What a resumed run is put together from: files that are whole and agree with the journal, or none of them."""

    def __init__(self, directory: RunDir, every_s: float) -> None:
        self.folder = directory.checkpoints
        self.journal = Journal(directory.journal)
        self.journals = [self.journal]  # of a pack the first run remembers all journals
        self.every_s = every_s
        self._last = time.monotonic()

    def has(self, name: str) -> bool:
        """Whether this state lies there."""
        return self._path(name).is_file()

    def due(self) -> bool:
        """Whether it is time for the next: by the clock, since a step may take a millisecond or an hour."""
        return time.monotonic() - self._last >= self.every_s

    def save(self, name: str, value: Any) -> None:
        """Keep a value with the length and the digest of each journal, so that resuming knows what was logged before it."""
        self.folder.mkdir(exist_ok=True)
        marks = json.dumps([journal.take_mark() for journal in self.journals])
        save_tree(self._path(name), value, journals=marks)
        self._last = time.monotonic()

    def load(self, name: str) -> Any:
        """A kept value; what is logged from now on follows what the journal was then."""
        path = self._path(name)
        for journal, (size, _) in zip(self.journals, _read_marks(read_metadata(path))):
            journal.replay_from(size)
        return load_tree(path)

    def begin(self) -> str:
        """Before anything is loaded: believe all checkpoints or none, and start the journal over.

        They build on each other, so that one which was cut or changed takes the others with it; the run then computes
        the same again. Returns the reason, or nothing when all is well.
        """
        files = sorted(self.folder.glob("*.safetensors")) if self.folder.is_dir() else []
        reason = next((said for file in files if (said := self._find_fault(file))), "")
        for file in files if reason else ():
            file.unlink()
        self.journal.replay_from()
        return reason

    def _find_fault(self, file: Path) -> str:
        """Why a file cannot be gone on from; empty where it can."""
        metadata = whole_metadata(file)
        if isinstance(metadata, Damaged):
            return f"{file.name}: {metadata.reason}"
        pairs = zip(self.journals, _read_marks(metadata))
        if not all(journal.holds(mark) for journal, mark in pairs if mark[1]):
            return f"{file.name}: the journal is not the one that it was written beside"
        return ""

    def _path(self, name: str) -> Path:
        """One file for each named state."""
        return self.folder / f"{name.replace('/', '-')}.safetensors"


def _read_marks(metadata: dict[str, str]) -> list[Mark]:
    """An older digsite kept one length and no digest."""
    if "journals" not in metadata:
        return [(int(metadata.get("journal", 0)), "")]
    return [(int(size), str(digest)) for size, digest in json.loads(metadata["journals"])]


# Nested dicts, lists, tensors, arrays and numbers in one safetensors file: state without pickle.


def save_tree(path: Path, value: Any, **metadata: str) -> None:
    """Write whole or not at all, and on disk for good when this returns."""
    tensors: dict[str, torch.Tensor] = {}
    skeleton = json.dumps(_take_apart(value, tensors))
    described = {"tree": skeleton, **metadata}
    with atomic.replace_file(path, fsync=True) as temporary:
        save_file(tensors, temporary, metadata={**described, "digest": _digest_tensors(described, tensors)})


def whole_metadata(path: Path) -> dict[str, str] | Damaged:
    """The metadata of a file whose every byte is as it was written, or why it cannot be believed.

    A file of an older digsite has no digest: of it only the form is known.
    """
    try:
        with safe_open(path, framework="pt") as file:
            described = dict(file.metadata() or {})
            digest = described.pop("digest", None)
            tensors = {name: file.get_tensor(name) for name in file.keys()} if digest else {}  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        return Damaged(str(error))
    if "tree" not in described:
        return Damaged("it is no checkpoint")
    if digest and digest != _digest_tensors(described, tensors):
        return Damaged("its bytes have changed since it was written")
    return described


def _digest_tensors(described: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> str:
    """Over names, types, shapes and bytes: a file that was cut short has another."""
    digest = blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())  # pyright: ignore[reportArgumentType]
    return digest.hexdigest()


def load_tree(path: Path) -> Any:
    """The nested value, tensors where they were."""
    with safe_open(path, framework="pt") as file:
        return _put_together(json.loads(file.metadata()["tree"]), file)


def read_metadata(path: Path) -> dict[str, str]:
    """Without reading a tensor."""
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def _take_apart(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """A nested value as JSON with numbers in place of its tensors, which are collected: no pickle is needed."""
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
    """The way back."""
    match node:
        case {"tensor": key}:
            return file.get_tensor(key)
        case {"array": key}:
            return file.get_tensor(key).numpy()
        case {"dict": pairs}:
            return {_put_together(k, file): _put_together(v, file) for k, v in pairs}
        case {"list": items}:
            return [_put_together(item, file) for item in items]
        case {"tuple": items}:
            return tuple(_put_together(item, file) for item in items)
    return node
