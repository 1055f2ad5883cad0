"""Participation ratio of singular values, (sum s)^2 / sum s^2: the original's definition."""

from digsite.track.core.measures._shape import Measured, Spectrum, positive


def measure(spectrum: Spectrum) -> Measured:
    return spectrum.singular.sum(-1).square() / positive(spectrum.singular.square().sum(-1))
