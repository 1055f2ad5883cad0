"""Image sets by name, as float32 tensors (n, channels, height, width) in [0, 1]."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from digsite.base import families
from digsite.base.errors import NotFound, nearest

PACKAGE = "digsite.data.sets"


@dataclass(frozen=True)
class ImageSet:
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
        c, h, w = self.x_train.shape[1:]
        return c, h, w


def from_numpy(
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    class_names: tuple[str, ...],
    note: str = "",
) -> ImageSet:
    """Images as (n, h, w) or (n, h, w, c): bytes are divided by 255, floats are taken as they are."""
    return ImageSet(
        name, _pixels(train[0]), _labels(train[1]), _pixels(test[0]), _labels(test[1]), class_names, note
    )


def _pixels(images: np.ndarray) -> Tensor:
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    x = torch.from_numpy(images.astype(np.float32)).div_(scale)
    return x.unsqueeze(1) if x.ndim == 3 else x.permute(0, 3, 1, 2).contiguous()


def _labels(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64))


def names() -> list[str]:
    return families.names(PACKAGE)


def load(name: str) -> ImageSet:
    """`digits` is bundled; the others come from DIGSITE_DATA, the user cache, or a verified download."""
    if name not in names():
        raise NotFound(f"There is no image set '{name}'.", hint=nearest(name, names()))
    return import_module(f"{PACKAGE}.{name}").read()
