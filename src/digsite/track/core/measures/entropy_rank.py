"""Exponential of the entropy of s / sum s (the effective rank of Roy and Vetterli, RankMe's score)."""

import torch

from digsite.track.core.measures._shape import Measured, Spectrum, positive


def measure(spectrum: Spectrum) -> Measured:
    share = spectrum.singular / positive(spectrum.singular.sum(-1, keepdim=True))
    return torch.special.entr(share).sum(-1).exp()
