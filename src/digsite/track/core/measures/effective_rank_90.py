"""Fewest directions that hold 90 % of the energy; a whole number, so its curve is a staircase."""

import torch

from digsite.track.core.measures._shape import Measured, Spectrum


def measure(spectrum: Spectrum) -> Measured:
    share = spectrum.squared.cumsum(-1) / spectrum.squared.sum(-1, keepdim=True).clamp_min(1e-300)
    return ((share < 0.9).sum(-1) + 1).to(torch.float64)
