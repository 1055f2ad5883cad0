"""Weights of eight bits with their scales beside them, as the numbers that they stand for."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from digsite.weights.bundle import Stored

KINDS = ("F8_E4M3", "F8_E5M2", "float8_e4m3fn", "float8_e5m2")
SCALES = ("_scale_inv", "_scale")  # both are factors: the stored number times its scale is the weight


def dequantized(stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """The same tensors with every eight-bit weight as float32, and without the scales that are used up by that.

    A scale may be one number, one for each row, or one for each block (DeepSeek's are 128 x 128).
    """
    found = dict(stored)
    for name, one in stored.items():
        if one.dtype not in KINDS:
            continue
        scale = next((name + end for end in SCALES if name + end in stored), None)
        found[name] = Stored(one.shape, "float32", partial(_load, one, stored[scale] if scale else None))
        if scale:
            found.pop(scale, None)
    return found


def _load(one: Stored, scale: Stored | None) -> Tensor:
    value = one.load().float()
    if scale is None:
        return value
    factor = scale.load().float()
    if factor.numel() == 1:
        return value * factor.reshape(())
    if factor.ndim == 1:
        return value * factor[:, None]
    rows, columns = (-(-side // blocks) for side, blocks in zip(value.shape, factor.shape, strict=True))
    spread = torch.repeat_interleave(torch.repeat_interleave(factor, rows, 0), columns, 1)
    return value * spread[: value.shape[0], : value.shape[1]]
