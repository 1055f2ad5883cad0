"""Safetensors files, memory-mapped: a tensor's pages are read when it is used."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from digsite.base.errors import DigsiteError, UsageError
from digsite.weights.bundle import DTYPES, LazyTensors, StoredTensor, WeightBundle, mark_unread
from digsite.weights.formats import Format


class Safetensors(Format):
    """Safetensors files, memory-mapped: a tensor's pages are read when it is used."""

    @staticmethod
    def fits_content(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(9)
        return path.suffix == ".safetensors" or head[8:] == b"{"

    @staticmethod
    def read_path(path: Path) -> WeightBundle:
        file = _open_file(path)
        reader = RangeReader(path)
        views = {name: _describe_view(file, name, reader) for name in file.offset_keys()}
        left = {
            name: mark_unread(f"numbers of type {view.dtype}", view.shape)
            for name, view in views.items()
            if view.dtype in UNREADABLE
        }
        tensors, unscaled = dequantize_fp8({name: view for name, view in views.items() if name not in left})
        texts = file.metadata() or {}
        # The convention of safetensors.torch.save_model: the name that was left out, and the one that was kept.
        tied = {alias: name for alias, name in texts.items() if name in tensors and alias not in tensors}
        meta = {key: _parse_metadata(text) for key, text in texts.items() if key not in tied}
        said = {key: value for key, value in (("unread", left), ("unscaled", unscaled)) if value}
        return WeightBundle(LazyTensors(tensors), {"format": "safetensors", **meta, **said}, tied)


def _open_file(path: Path) -> Any:
    """Mapped, with a sentence for what is no whole file and for what is larger than can be mapped."""
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise DigsiteError(f"'{path}' is not a whole safetensors file ({error}).") from None
    except RuntimeError as error:
        if "Cannot allocate memory" not in str(error):
            raise
        size = path.stat().st_size / 1e9
        raise UsageError(f"'{path}' is a file of {size:.0f} GB, more than this machine can map.") from None


class RangeReader:
    """Values at places of a file, by reads of some bytes each: a mapped page costs more, and stays in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._header: dict[str, Any] = {}
        self._start = 0

    def read_ranges(self, name: str, places: Sequence[tuple[int, int]]) -> Tensor:
        """name: of the tensor; places: (start, stop) in its flattened values. Opens the file when first asked."""
        if self._file is None:
            self._file = self._path.open("rb", buffering=0)
            size = int.from_bytes(os.pread(self._file.fileno(), 8, 0), "little")
            self._header, self._start = json.loads(os.pread(self._file.fileno(), size, 8)), 8 + size
        handle = self._file.fileno()
        kind = DTYPES[self._header[name]["dtype"]]
        first = self._start + self._header[name]["data_offsets"][0]
        values = torch.empty(sum(b - a for a, b in places), dtype=kind)
        room = values.view(torch.uint8).numpy().data
        for a, b in places:
            size = (b - a) * kind.itemsize
            _read_into(handle, room[:size], first + a * kind.itemsize)
            room = room[size:]
        return values

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()


def _read_into(handle: int, room: memoryview, start: int) -> None:
    """Fills `room` from the file; one call reads two gigabytes at most."""
    while len(room):
        got = os.preadv(handle, [room], start)
        if not got:
            raise DigsiteError("The file was cut short while it was read.")
        room, start = room[got:], start + got


def _describe_view(file: Any, name: str, reader: RangeReader) -> StoredTensor:
    """Parts of a tensor can be read only of plain types; eight-bit numbers need their scales first."""
    view = file.get_slice(name)
    kind = view.get_dtype()
    ranges = partial(reader.read_ranges, name) if kind in DTYPES and kind not in KINDS else None
    return StoredTensor(tuple(view.get_shape()), kind, partial(file.get_tensor, name), ranges)


def _parse_metadata(text: str) -> Any:
    """Metadata are texts; what was written as JSON is read as JSON."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


# Weights of eight bits with their scales beside them, as the numbers that they stand for.

KINDS = ("F8_E4M3", "F8_E5M2", "float8_e4m3fn", "float8_e5m2")
UNREADABLE = (
    "F4",
    "F6_E2M3",
    "F6_E3M2",
    "F8_E8M0",
    "float4_e2m1fn_x2",
    "float8_e8m0fnu",
)  # packed, or scales alone
SCALES = ("_scale_inv", "_scale")  # both are factors: the stored number times its scale is the weight


def dequantize_fp8(stored: Mapping[str, StoredTensor]) -> tuple[dict[str, StoredTensor], list[str]]:
    """The same tensors with every eight-bit weight as float32, without the scales that are used up by that, and the names
    of those that have none here.

    A scale may be one number, one for each row, or one for each block (DeepSeek's are 128 x 128).
    """
    eight = [name for name, tensor in stored.items() if tensor.dtype in KINDS]
    plain = {
        name: StoredTensor(stored[name].shape, "float32", partial(_load_scaled, stored[name], None))
        for name in eight
    }
    return scale_tensors({**stored, **plain}, eight)


def scale_tensors(
    stored: Mapping[str, StoredTensor], names: Iterable[str]
) -> tuple[dict[str, StoredTensor], list[str]]:
    """`stored` with the scales of `names` applied and left out, and those of `names` that have no scale in it."""
    scaled, missing = dict(stored), []
    for name in names:
        scale = next((name + end for end in SCALES if name + end in scaled), None)
        if scale is None:
            missing.append(name)
            continue
        load = partial(_load_scaled, stored[name], scaled.pop(scale))
        scaled[name] = StoredTensor(stored[name].shape, "float32", load)
    return scaled, missing


def _load_scaled(tensor: StoredTensor, scale: StoredTensor | None) -> Tensor:
    """The weight itself: stored numbers times their factor, spread over rows or blocks as the factor's shape
    says.
    """
    value = tensor.load().float()
    if scale is None:
        return value
    factor = scale.load().float()
    if factor.numel() == 1:
        return value * factor.reshape(())
    fits = len(factor) == len(value) if factor.ndim == 1 else factor.ndim == 2
    if value.ndim != 2 or not fits or any(not 0 < n <= side for n, side in zip(factor.shape, value.shape)):
        shapes = f"{list(value.shape)} has scales of shape {list(factor.shape)}"
        raise UsageError(f"A weight of shape {shapes}, which do not fit it.")
    if factor.ndim == 1:
        return value * factor[:, None]
    rows, columns = (-(-side // blocks) for side, blocks in zip(value.shape, factor.shape, strict=True))
    spread = torch.repeat_interleave(torch.repeat_interleave(factor, rows, 0), columns, 1)
    return value * spread[: value.shape[0], : value.shape[1]]
