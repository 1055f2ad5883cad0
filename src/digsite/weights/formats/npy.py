"""One NumPy array: a matrix of weights or a mask, by the name of its file."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.weights.bundle import LazyTensors, Stored, WeightBundle

MAGIC = b"\x93NUMPY"


def matches(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(6) == MAGIC


def read(path: Path) -> WeightBundle:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind not in "fiub":
        raise DigsiteError(f"'{path}' is an array of {array.dtype}, not of numbers.")
    one = Stored(tuple(array.shape), str(array.dtype), partial(_load, path))
    return WeightBundle(LazyTensors({path.stem: one}), {"format": "npy"})


def _load(path: Path) -> Tensor:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))
