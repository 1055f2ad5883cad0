"""The IDX format of the MNIST family: two zero bytes, a type byte, the number of dimensions, sizes, data."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from digsite.base.errors import DigsiteError
from digsite.data.fetch import Source, locate
from digsite.data.images import ImageSet, from_numpy
from digsite.weights.bounds import most_bytes

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    opener = gzip.open if path.suffix == ".gz" else Path.open
    most = most_bytes(path)
    try:
        with opener(path, "rb") as file:
            data = file.read(most + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DigsiteError(
            f"'{path}' is not a whole gzip file ({error}).", hint="Delete it and load again."
        ) from None
    if len(data) > most:
        raise DigsiteError(
            f"'{path}' unpacks to more than {most:,} bytes, which no image set of its size does.",
            hint="Delete it and load again.",
        )
    return parse_idx(data, str(path))


def parse_idx(data: bytes, name: str) -> np.ndarray:
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES:
        raise DigsiteError(f"'{name}' is not an IDX file: it starts with {data[:4].hex() or 'nothing'}.")
    n_dimensions = data[3]
    start = 4 + 4 * n_dimensions
    if len(data) < start:
        raise DigsiteError(
            f"'{name}' is damaged: it ends inside its header.", hint="Delete it and load again."
        )
    shape = tuple(np.frombuffer(data[4:start], ">i4").tolist())
    dtype = np.dtype(TYPES[data[2]])
    expected = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if min(shape, default=0) < 0:
        raise DigsiteError(
            f"'{name}' is damaged: its header says the shape {list(shape)}.", hint="Delete it and load again."
        )
    if len(data) - start != expected:
        raise DigsiteError(
            f"'{name}' is damaged: its header promises {expected} bytes of data, it has {len(data) - start}.",
            hint="Delete it and load again.",
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def read_image_set(
    name: str, sources: tuple[Source, Source, Source, Source], classes: tuple[str, ...]
) -> ImageSet:
    """From train images, train labels, test images, test labels in this order."""
    train_x, train_y, test_x, test_y = (read_idx(locate(name, source)) for source in sources)
    return from_numpy(name, (train_x, train_y), (test_x, test_y), classes)
