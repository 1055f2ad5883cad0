"""NumPy archives of named arrays."""

import zipfile
from pathlib import Path

import numpy as np
import torch

from digsite.base.errors import DigsiteError
from digsite.weights.bundle import WeightBundle


def matches(path: Path) -> bool:
    return path.is_file() and path.suffix == ".npz"


def read(path: Path) -> WeightBundle:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DigsiteError(f"'{path}' could not be read as arrays ({error}).") from None
    tensors = {name: torch.from_numpy(a) for name, a in found.items() if a.dtype.kind in "fiub"}
    skipped = sorted(found.keys() - tensors.keys())
    return WeightBundle(tensors, {"format": "npz", "skipped": skipped})
