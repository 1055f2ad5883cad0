"""GGUF files of llama.cpp: quantized blocks are turned back into numbers when a tensor is asked for."""

import struct
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.weights.blocks import BLOCKS, block_bytes, dequantize
from digsite.weights.bundle import LazyTensors, Stored, WeightBundle
from digsite.weights.gguf_names import as_hugging_face
from digsite.weights.unread import unread

MAGIC = b"GGUF"
NUMBERS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
MOST_ENTRIES = 1 << 20
MOST_TEXT = 1 << 24
KEPT = 64  # entries of an array in the metadata that are kept; vocabularies are not weights


def matches(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def read(path: Path) -> WeightBundle:
    """Tensors in Hugging Face's names where the architecture is known, else in the file's own."""
    with path.open("rb") as file:
        meta, table = _header(file, path)
        base = file.tell()
    step = int(meta.get("general.alignment", 32)) or 32
    base += -base % step
    size = path.stat().st_size
    stored: dict[str, Stored] = {}
    left: dict[str, dict[str, Any]] = {}
    for name, (shape, kind, offset) in table.items():
        if kind not in BLOCKS:
            left[name] = unread(f"quantization kind {kind} of GGUF is not known", shape)
            continue
        nbytes = block_bytes(kind, shape)
        if base + offset + nbytes > size:
            raise DigsiteError(
                f"'{path}' is cut short: '{name}' ends at byte {base + offset + nbytes} of {size}."
            )
        stored[name] = Stored(shape, "float32", partial(_load, path, base + offset, nbytes, kind, shape))
    stored, config = as_hugging_face(stored, meta)
    kinds = sorted({BLOCKS[kind].name for _, kind, _ in table.values() if kind in BLOCKS})
    own = {"format": "gguf", "kinds": kinds, "unread": left, **({"config": config} if config else {})}
    tied = {"lm_head.weight": "model.embed_tokens.weight"} if config and config["tie_word_embeddings"] else {}
    return WeightBundle(LazyTensors(stored), own, tied)


def _load(path: Path, start: int, nbytes: int, kind: int, shape: tuple[int, ...]) -> Tensor:
    with path.open("rb") as file:
        file.seek(start)
        raw = file.read(nbytes)
    return torch.from_numpy(dequantize(raw, kind).reshape(shape))


def _header(file: BinaryIO, path: Path) -> tuple[dict[str, Any], dict[str, tuple[tuple[int, ...], int, int]]]:
    file.seek(4)
    version = _number(file, 4)
    if version not in (2, 3):
        raise DigsiteError(f"'{path}' is GGUF version {version}; versions 2 and 3 are read.")
    n_tensors, n_values = _number(file, 10), _number(file, 10)
    if max(n_tensors, n_values) > MOST_ENTRIES:
        raise DigsiteError(f"'{path}' is damaged: it promises {n_tensors} tensors and {n_values} settings.")
    meta = {}
    for _ in range(n_values):
        key = _text(file)
        meta[key] = _value(file, _number(file, 4))
    table = {}
    for _ in range(n_tensors):
        name = _text(file)
        n_sides = _number(file, 4)
        if n_sides > 8:
            raise DigsiteError(f"'{path}' is damaged: '{name}' has {n_sides} sides.")
        sides = [_number(file, 10) for _ in range(n_sides)]
        table[name] = (tuple(reversed(sides)), _number(file, 4), _number(file, 10))
    return meta, table


def _number(file: BinaryIO, kind: int) -> Any:
    form = NUMBERS[kind]
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _text(file: BinaryIO) -> str:
    size = _number(file, 10)
    if size > MOST_TEXT:
        raise DigsiteError(f"The file is damaged: it promises a text of {size} bytes.")
    return file.read(size).decode(errors="replace")


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == 8:
        return _text(file)
    if kind != 9:
        if kind not in NUMBERS:
            raise DigsiteError(f"The file is damaged: it has a setting of kind {kind}.")
        return _number(file, kind)
    inner, count = _number(file, 4), _number(file, 10)
    if count > MOST_TEXT:
        raise DigsiteError(f"The file is damaged: it promises a list of {count} entries.")
    values = []
    for place in range(count):
        one = _value(file, inner)
        if place < KEPT:
            values.append(one)
    return values
