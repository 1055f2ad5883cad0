"""NumPy archives of named arrays; each is unpacked when it is asked for."""

import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.weights.bundle import LazyTensors, StoredTensor, WeightBundle, mark_unread
from digsite.weights.formats import Format


class Npz(Format):
    """NumPy archives of named arrays; each is unpacked when it is asked for."""

    @staticmethod
    def fits_content(path: Path) -> bool:
        return path.is_file() and path.suffix == ".npz"

    @staticmethod
    def read_path(path: Path) -> WeightBundle:
        stored: dict[str, StoredTensor] = {}
        left: dict[str, dict[str, Any]] = {}
        arrays = _Archive(path)
        try:
            refuse_bomb(path)
            with zipfile.ZipFile(path) as archive:
                for entry in archive.namelist():
                    name = entry.removesuffix(".npy")
                    shape, dtype = _describe_entry(archive, entry)
                    if dtype.kind in "fiub":
                        stored[name] = StoredTensor(shape, str(dtype), partial(arrays.load, name))
                    else:
                        left[name] = mark_unread(f"an array of {dtype}", shape)
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise DigsiteError(f"'{path}' could not be read as arrays ({error}).") from None
        if left and not stored:
            raise DigsiteError(
                f"'{path}' could not be read as arrays: '{next(iter(left))}' holds no plain numbers."
            )
        return WeightBundle(LazyTensors(stored), {"format": "npz", "skipped": sorted(left), "unread": left})


def _describe_entry(archive: zipfile.ZipFile, entry: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type from the first bytes of an entry."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(file)
    return tuple(shape), dtype


class _Archive:
    """Opened when the first array is asked for, and its list read once: reading it for each would take their square."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrays: Any = None

    def load(self, name: str) -> Tensor:
        """One array of the archive, without pickles: an array of objects would be one."""
        try:
            if self._arrays is None:
                self._arrays = np.load(self._path, allow_pickle=False)
            return torch.from_numpy(self._arrays[name])
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise DigsiteError(f"'{name}' of '{self._path}' could not be read ({error}).") from None


# What a compressed file may become: a bounded multiple of its own size, so that eight megabytes never fill a memory.

FACTOR = (
    50  # weights compress by a tenth, masks by thirty; only what is made for it, or all zeros, by a thousand
)
ROOM = 64_000_000  # bytes that any file may become


def limit_bytes(path: Path) -> int:
    """How many bytes the content of a compressed file may have."""
    return FACTOR * path.stat().st_size + ROOM


def refuse_bomb(path: Path) -> None:
    """Refuse an archive of arrays that unpacks to far more than it is, or whose entries promise other sizes than they have.

    Reading allocates what an entry's header promises before a byte of it is there.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        total, most = sum(entry.file_size for entry in entries), limit_bytes(path)
        if total > most:
            raise DigsiteError(
                f"'{path}' would unpack to {total:,} bytes, {total // max(path.stat().st_size, 1)} times its size; at most "
                f"{most:,} are read.",
                hint="If this is meant, save it again without compression: numpy.savez.",
            )
        for entry in entries:
            if entry.filename.endswith(".npy"):
                _check_promise(path, archive, entry)


def _check_promise(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Shape times size of the header against the bytes that are there."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        promised, has = int(np.prod(shape, dtype=object)) * dtype.itemsize, entry.file_size - file.tell()
    if promised != has and not dtype.hasobject:
        raise DigsiteError(
            f"'{path}' is damaged: '{entry.filename}' promises {promised:,} bytes and has {has:,}."
        )


# One NumPy array: a matrix of weights or a mask, by the name of its file.

MAGIC = b"\x93NUMPY"


class Npy(Format):
    """One NumPy array: a matrix of weights or a mask, by the name of its file."""

    @staticmethod
    def fits_content(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(6) == MAGIC

    @staticmethod
    def read_path(path: Path) -> WeightBundle:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.dtype.kind not in "fiub":
            raise DigsiteError(f"'{path}' is an array of {array.dtype}, not of numbers.")
        stored = StoredTensor(tuple(array.shape), str(array.dtype), partial(_load_array, path))
        return WeightBundle(LazyTensors({path.stem: stored}), {"format": "npy"})


def _load_array(path: Path) -> Tensor:
    """A copy in this machine's byte order; the mapped file stays untouched."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))
