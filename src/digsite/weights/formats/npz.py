"""NumPy archives of named arrays; each is unpacked when it is asked for."""

import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.weights.bounds import refuse_bomb
from digsite.weights.bundle import LazyTensors, Stored, WeightBundle
from digsite.weights.unread import unread


def matches(path: Path) -> bool:
    return path.is_file() and path.suffix == ".npz"


def read(path: Path) -> WeightBundle:
    stored: dict[str, Stored] = {}
    left: dict[str, dict[str, Any]] = {}
    try:
        refuse_bomb(path)
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                name = entry.removesuffix(".npy")
                shape, dtype = _described(archive, entry)
                if dtype.kind in "fiub":
                    stored[name] = Stored(shape, str(dtype), partial(_load, path, name))
                else:
                    left[name] = unread(f"an array of {dtype}", shape)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DigsiteError(f"'{path}' could not be read as arrays ({error}).") from None
    if left and not stored:
        raise DigsiteError(
            f"'{path}' could not be read as arrays: '{next(iter(left))}' holds no plain numbers."
        )
    return WeightBundle(LazyTensors(stored), {"format": "npz", "skipped": sorted(left), "unread": left})


def _described(archive: zipfile.ZipFile, entry: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type from the first bytes of an entry."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(file)
    return tuple(shape), dtype


def _load(path: Path, name: str) -> Tensor:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return torch.from_numpy(arrays[name])
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DigsiteError(f"'{name}' of '{path}' could not be read ({error}).") from None
