"""The signature shared by all measures."""

import torch
from torch import Tensor

from digsite.track.core.spectrum import Spectrum

__all__ = ["Measured", "Spectrum", "positive"]

Measured = Tensor


def positive(x: Tensor) -> Tensor:
    """A denominator that cannot be zero; a zero matrix then measures zero."""
    return x.clamp_min(torch.finfo(x.dtype).tiny)
