"""Energy over the largest squared singular value: F^2 / s1^2, at least 1 and at most the rank."""

from digsite.track.core.measures._shape import Measured, Spectrum, positive


def measure(spectrum: Spectrum) -> Measured:
    return spectrum.squared.sum(-1) / positive(spectrum.squared[..., 0])
