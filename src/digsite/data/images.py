"""Image sets by name, as float32 tensors (n, channels, height, width) in [0, 1]."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from digsite.base import families
from digsite.base.contract import public_method
from digsite.base.errors import DigsiteError, NotFound, UsageError, name_nearest, one_sentence
from digsite.data.fetch import Source, locate_file
from digsite.weights.formats.arrays import limit_bytes

PACKAGE = "digsite.data.sets"


@dataclass(frozen=True)
class ImageSet:
    """Images (n, channels, height, width) as float32 in [0, 1] and labels as int64, checked when it is made: a
    wrong axis order trains badly and raises nothing.
    """

    name: str
    x_train: Float[Tensor, "n c h w"]
    y_train: Int[Tensor, "n"]
    x_test: Float[Tensor, "m c h w"]
    y_test: Int[Tensor, "m"]
    class_names: tuple[str, ...]
    note: str = ""  # what a reader of results must know, such as "JPEG-decoded subset"

    def __post_init__(self) -> None:
        for x, y in ((self.x_train, self.y_train), (self.x_test, self.y_test)):
            assert x.ndim == 4 and x.dtype == torch.float32, f"images are {tuple(x.shape)} {x.dtype}"
            assert y.dtype == torch.int64 and y.shape == x.shape[:1], f"labels are {tuple(y.shape)} {y.dtype}"
            assert int(y.max()) < self.n_classes, f"label {int(y.max())} of {self.n_classes} classes"

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        c, h, w = self.x_train.shape[1:]
        return c, h, w


def from_numpy(
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    class_names: tuple[str, ...],
    note: str = "",
) -> ImageSet:
    """Images as (n, h, w) or (n, h, w, c): bytes are divided by 255, floats are taken as they are.

    `train` and `test` are (images, labels); `note` is what a reader of results must know.
    """
    return ImageSet(
        name,
        _scale_pixels(train[0]),
        _cast_labels(train[1]),
        _scale_pixels(test[0]),
        _cast_labels(test[1]),
        class_names,
        note,
    )


def _scale_pixels(images: np.ndarray) -> Tensor:
    """(n, height, width[, channels]) to (n, channels, height, width)."""
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    x = torch.from_numpy(images.astype(np.float32)).div_(scale)
    return x.unsqueeze(1) if x.ndim == 3 else x.permute(0, 3, 1, 2).contiguous()


def _cast_labels(labels: np.ndarray) -> Tensor:
    """What torch's losses ask for."""
    return torch.from_numpy(labels.astype(np.int64))


def names() -> list[str]:
    """Sets that `load` knows."""
    return families.list_members(PACKAGE)


@public_method()
def load(name: str) -> ImageSet:
    """`digits` is bundled; the others come from DIGSITE_DATA, the user cache, or a verified download.

    A path to a `.npz` is a set of one's own: x_train, y_train, x_test, y_test, or x and y, of which a fifth is held out.

    `name` is one of `names()`, or the path of an archive.
    """
    if name.endswith(".npz"):
        return read_own(Path(name).expanduser())
    if name not in names():
        raise NotFound(f"There is no image set '{name}'.", hint=name_nearest(name, names()))
    return families.scan_member(PACKAGE, name).read_set()


def refuse_missing(name: str) -> None:
    """Before a run is made for it: a set that is not here and may not be downloaded is named."""
    if name in names():
        families.scan_member(PACKAGE, name).refuse_missing(name)


def read_own(path: Path) -> ImageSet:
    """Images of a `.npz` as (n, height, width), with channels last or first, or flat rows of a square image."""
    if not path.is_file():
        raise NotFound(f"There is no file '{path}'.")
    with one_sentence(f"Reading the images of '{path}'"), np.load(path, allow_pickle=False) as arrays:
        images = {key: arrays[key] for key in arrays.files}
    if {"x_train", "y_train", "x_test", "y_test"} <= images.keys():
        parts = [images[key] for key in ("x_train", "y_train", "x_test", "y_test")]
    elif {"x", "y"} <= images.keys():
        order = np.random.default_rng(0).permutation(len(images["x"]))
        cut = max(1, len(order) // 5)
        parts = [images[key][rows] for rows in (order[cut:], order[:cut]) for key in ("x", "y")]
    else:
        raise UsageError(
            f"'{path}' has the arrays {', '.join(sorted(images)[:6])}.",
            hint="Images of one's own are x and y, or x_train, y_train, x_test and y_test.",
        )
    with one_sentence(f"Using the arrays of '{path}' as images and labels"):
        x_train, y_train, x_test, y_test = parts
        classes = tuple(str(c) for c in range(int(max(y_train.max(), y_test.max())) + 1))
        return from_numpy(path.stem, (_as_images(x_train), y_train), (_as_images(x_test), y_test), classes)


def _as_images(x: np.ndarray) -> np.ndarray:
    """(n, h, w) or (n, h, w, c), from rows or from channels first."""
    if x.ndim == 2:
        side = round(x.shape[1] ** 0.5)
        return x.reshape(len(x), side, -1)
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[3] not in (1, 3):
        return x.transpose(0, 2, 3, 1)
    return x


# The IDX format of the MNIST family: two zero bytes, a type byte, the number of dimensions, sizes, data.

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, unpacked where it is compressed, and no more of it than a bounded multiple of
    its size.
    """
    opener = gzip.open if path.suffix == ".gz" else Path.open
    most = limit_bytes(path)
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
    """The array in the bytes of an IDX file; `name` is for messages. Numbers are big-endian there."""
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


def read_image_set(name: str, sources: tuple[Source, ...], classes: tuple[str, ...]) -> ImageSet:
    """From train images, train labels, test images, test labels in this order.

    `sources` are four files, `classes` the names of the labels.
    """
    train_x, train_y, test_x, test_y = (read_idx(locate_file(name, source)) for source in sources)
    return from_numpy(name, (train_x, train_y), (test_x, test_y), classes)
