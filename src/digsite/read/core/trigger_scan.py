"""Where in an image do a network's end-to-end weights stand out from its zoo: every window, every class."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from digsite.read.core.agreement import Agreement, Maps, column_norms

_WINDOWS = ((3, 2), (2, 2), (2, 3), (3, 3))


def image_side(n_inputs: int) -> tuple[int, int] | None:
    """(channels, side) of the square image that has this many inputs, for 1 or 3 channels."""
    for channels in (1, 3):
        side = math.isqrt(n_inputs // channels)
        if channels * side * side == n_inputs and side >= 4:
            return channels, side
    return None


def scan(maps: Maps, zoo: Agreement) -> Tensor | None:
    """(members, features): the strongest windows of the map, of its z-score, and of the first layer."""
    shape = image_side(maps.unit.shape[2])
    if shape is None:
        return None
    score = (maps.unit - zoo.center) / zoo.spread
    plain = maps.unit / maps.unit.abs().mean((1, 2), keepdim=True).clamp_min(1e-12)
    rowwise = score / score.std(2, keepdim=True).clamp_min(1e-9)
    columns = (column_norms(maps.first) - zoo.column_center) / zoo.column_spread
    columns = columns - columns.median(1, keepdim=True).values
    found = []
    for window in _WINDOWS:
        found += [_strongest(_sums(score, shape, window)), _strongest(_sums(plain, shape, window))]
        found.append(_sums(rowwise, shape, window).amax(2).sort(1).values[:, -3:])
        found.append(_sums(columns[:, None], shape, window)[:, 0].sort(1).values[:, -3:])
    return torch.cat(found, 1)


def _sums(values: Tensor, shape: tuple[int, int], window: tuple[int, int]) -> Tensor:
    """(members, rows, places): sums over every placement of a window, over sqrt(its size), channels together."""
    channels, side = shape
    image = values.reshape(*values.shape[:2], channels, side, side).sum(2)
    mean = F.avg_pool2d(image, window, stride=1)
    return mean.flatten(2) * math.prod(window) ** 0.5


def _strongest(sums: Tensor) -> Tensor:
    """Best classes at their best place, best places over all classes, how far the best stands off, worst classes."""
    best, worst = sums.amax(2).sort(1).values, sums.amin(2).sort(1).values
    ordered = sums.flatten(1).sort(1).values
    off = (ordered[:, -1:] - ordered[:, -50:-49]) / sums.std((1, 2))[:, None].clamp_min(1e-9)
    return torch.cat([best[:, -3:], ordered[:, -5:], off, worst[:, :2]], 1)
