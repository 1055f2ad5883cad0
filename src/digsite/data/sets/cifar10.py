"""CIFAR-10: 50,000 + 10,000 color photographs of ten kinds of things, 32x32 (Krizhevsky 2009)."""

import tarfile
from pathlib import Path

import numpy as np

from digsite.base.errors import DigsiteError
from digsite.data.fetch import Source, find, locate
from digsite.data.images import ImageSet, from_numpy

# The binary archive: the Python one is a pickle, and pickles are never executed.
ARCHIVE = Source(
    "cifar-10-binary.tar.gz",
    "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SUBSET_NOTE = "class-balanced subset, decoded from JPEG: not comparable with published CIFAR-10 figures"


def read() -> ImageSet:
    """The published archive where it is at hand, else a local subset (with a note), else a download."""
    if not find("cifar10", ARCHIVE.file) and (subset := find("cifar10_subset", "cifar10_subset.npz")):
        with np.load(subset) as a:
            train, test = (a["x_train"], a["y_train"]), (a["x_test"], a["y_test"])
        return from_numpy("cifar10", train, test, CLASSES, SUBSET_NOTE)
    path = locate("cifar10", ARCHIVE)
    try:
        train, test = _unpack(path)
    except (tarfile.TarError, EOFError, KeyError, ValueError) as error:
        message = f"'{path}' is not the binary CIFAR-10 archive ({error})."
        raise DigsiteError(message, hint="Delete it and load again.") from None
    return from_numpy("cifar10", train, test, CLASSES)


def _unpack(path: Path) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    with tarfile.open(path) as archive:
        parts = {Path(m.name).name: m for m in archive.getmembers() if m.name.endswith(".bin")}
        batches = {name: archive.extractfile(member) for name, member in sorted(parts.items())}
        records = {name: _records(file.read()) for name, file in batches.items() if file}
    train = [records[f"data_batch_{i}.bin"] for i in range(1, 6)]
    joined = np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train])
    return joined, records["test_batch.bin"]


def _records(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one label byte and 3 x 32 x 32 color planes."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0]
