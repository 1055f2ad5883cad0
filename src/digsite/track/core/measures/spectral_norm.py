"""The largest singular value."""

from digsite.track.core.measures._shape import Measured, Spectrum


def measure(spectrum: Spectrum) -> Measured:
    return spectrum.squared[..., 0].sqrt()
