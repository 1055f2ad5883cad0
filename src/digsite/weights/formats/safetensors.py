"""Safetensors files, memory-mapped: a tensor's pages are read when it is used."""

import json
import os
from collections.abc import Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.weights.bundle import LazyTensors, Stored, WeightBundle
from digsite.weights.fp8 import dequantized

# Values of whole bytes that PyTorch has a type of the same width for.
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}


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
    reader = RangeReader(path)
    tensors = dequantized({name: _stored(file, name, reader) for name in names})
    texts = file.metadata() or {}
    # The convention of safetensors.torch.save_model: the name that was left out, and the one that was kept.
    tied = {alias: name for alias, name in texts.items() if name in tensors and alias not in tensors}
    meta = {key: _value(text) for key, text in texts.items() if key not in tied}
    return WeightBundle(LazyTensors(tensors), {"format": "safetensors", **meta}, tied)


class RangeReader:
    """Values at places of a file, by reads of some bytes each: a mapped page costs more, and stays in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._header: dict[str, Any] = {}
        self._start = 0

    def read(self, name: str, places: Sequence[tuple[int, int]]) -> Tensor:
        """name: of the tensor; places: (start, stop) in its flattened values. Opens the file when first asked."""
        if self._file is None:
            self._file = self._path.open("rb", buffering=0)
            size = int.from_bytes(os.pread(self._file.fileno(), 8, 0), "little")
            self._header, self._start = json.loads(os.pread(self._file.fileno(), size, 8)), 8 + size
        handle = self._file.fileno()
        kind = DTYPES[self._header[name]["dtype"]]
        first = self._start + self._header[name]["data_offsets"][0]
        parts = [os.pread(handle, (b - a) * kind.itemsize, first + a * kind.itemsize) for a, b in places]
        return torch.frombuffer(bytearray(b"".join(parts)), dtype=kind)

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()


def _stored(file: Any, name: str, reader: RangeReader) -> Stored:
    view = file.get_slice(name)
    kind = view.get_dtype()
    ranges = partial(reader.read, name) if kind in DTYPES else None
    return Stored(tuple(view.get_shape()), kind, partial(file.get_tensor, name), ranges)


def _value(text: str) -> Any:
    """Metadata are texts; what was written as JSON is read as JSON."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
