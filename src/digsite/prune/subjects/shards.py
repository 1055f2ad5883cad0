"""Hugging Face weight folders read and written a tensor at a time, without mapping whole files into memory.

A mapped file counts against an address-space limit in full, so a model larger than the limit could not even be opened;
the format is a length, a JSON table of offsets and raw bytes, which a seek and a read serve.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digsite.base import atomic
from digsite.base.errors import DigsiteError, NotFound
from digsite.weights.bundle import DTYPES as STORED
from digsite.weights.bundle import WeightBundle, read_apart
from digsite.weights.formats.folder import list_weight_files, refuse_incomplete, refuse_special_file

# fp8 means nothing without its scales, which are not pruned along: such files are refused.
DTYPES = {name: kind for name, kind in STORED.items() if not name.startswith("F8")}
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's bytes are in a file."""

    file: Path
    start: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def read(self) -> Tensor:
        """Read and not mapped: mapped pages of a whole model would count as memory."""
        buffer = torch.empty(self.nbytes, dtype=torch.uint8)
        with self.file.open("rb") as file:
            file.seek(self.start)
            got = file.readinto(buffer.numpy().data) if self.nbytes else 0
        if got != self.nbytes:
            raise DigsiteError(
                f"'{self.file}' is cut short: {self.nbytes} bytes were expected and {got} are there."
            )
        return buffer.view(self.dtype).view(self.shape)


@dataclass(frozen=True)
class DecodedTensor:
    """A tensor of a file that is not safetensors: decoded whenever it is read, and nothing is kept."""

    load: Callable[[], Tensor]
    dtype: torch.dtype = torch.float32

    def read(self) -> Tensor:
        """The numbers anew, in memory of their own: whoever reads them may change them."""
        return self.load()


def list_decoded(bundle: WeightBundle) -> dict[str, DecodedTensor]:
    """Every tensor of a bundle by name, none of them read."""
    return {name: DecodedTensor(partial(read_apart, bundle.tensors, name)) for name in bundle.tensors}


def list_stored(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a folder's safetensors files, by name; what its index lists must be there."""
    names = list_weight_files(folder) if any(folder.glob("*.safetensors")) else []
    files = [folder / name for name in names if name.endswith(".safetensors")]
    if not files:
        raise NotFound(
            f"The folder '{folder}' holds no safetensors files.",
            hint="Streaming reads safetensors; convert .bin weights first.",
        )
    stored = {name: entry for file in files for name, entry in _read_table(file).items()}
    refuse_incomplete(folder, stored)
    return stored


def _read_table(file: Path) -> dict[str, StoredTensor]:
    """Name to place, from a file's header."""
    refuse_special_file(file)
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if not 2 <= length <= file.stat().st_size:
            raise DigsiteError(f"'{file}' is not a safetensors file.")
        try:
            header = json.loads(handle.read(length))
        except ValueError as error:
            raise DigsiteError(f"'{file}' is not a whole safetensors file ({error}).") from None
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if odd := sorted({str(entry["dtype"]) for entry in tensors.values()} - DTYPES.keys()):
        raise DigsiteError(
            f"'{file}' stores {odd[0]}, which cannot be computed with.", hint="Convert it to bf16 first."
        )
    return {
        name: StoredTensor(
            file, 8 + length + entry["data_offsets"][0], DTYPES[entry["dtype"]], tuple(entry["shape"])
        )
        for name, entry in tensors.items()
    }


@dataclass
class ShardWriter:
    """Writes tensors as they come and, at the end, the index and the other files that make the folder loadable."""

    folder: Path
    metadata: Mapping[str, str] = field(default_factory=dict)
    flush_bytes: int = 64 << 20
    _waiting: dict[str, Tensor] = field(default_factory=dict)
    _where: dict[str, str] = field(default_factory=dict)
    _total: int = 0

    def add(self, tensors: Mapping[str, Tensor]) -> None:
        """Kept until a shard is full."""
        self._waiting |= tensors
        if sum(t.nbytes for t in self._waiting.values()) >= self.flush_bytes:
            self.flush()

    def flush(self) -> None:
        """What waits becomes a file, whole or not at all."""
        if not self._waiting:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"model-{len(set(self._where.values())) + 1:05d}.safetensors"
        with atomic.replace_file(self.folder / name) as path:
            write_tensors(path, self._waiting, {"format": "pt", **self.metadata})
        self._where |= dict.fromkeys(self._waiting, name)
        self._total += sum(t.nbytes for t in self._waiting.values())
        self._waiting = {}

    def finish(self) -> None:
        """The last shard and the index, without which a reader would take the folder for unfinished."""
        self.flush()
        atomic.write_json(
            self.folder / INDEX,
            {"metadata": {"total_size": self._total}, "weight_map": dict(sorted(self._where.items()))},
        )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """The format's own writer makes two copies of everything; a layer at a time is all there is room for here."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for tensor in tensors.values():
            file.write(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)


def weights_bytes(table: Mapping[str, Any]) -> int:
    """Bytes of all tensors."""
    return sum(entry.nbytes for entry in table.values())
