"""Sum of singular values over the largest one: sum s / s1."""

from digsite.track.core.measures._shape import Measured, Spectrum, positive


def measure(spectrum: Spectrum) -> Measured:
    return spectrum.singular.sum(-1) / positive(spectrum.singular[..., 0])
