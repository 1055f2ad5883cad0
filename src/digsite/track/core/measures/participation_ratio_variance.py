"""Participation ratio of variances, (sum s^2)^2 / sum s^4: the field's definition; it needs no decomposition."""

from digsite.track.core.measures._shape import Measured, Spectrum, positive


def measure(spectrum: Spectrum) -> Measured:
    return spectrum.squared.sum(-1).square() / positive(spectrum.squared.square().sum(-1))
