"""Measures on the singular values s of a table: how even they are, by one formula each."""

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.track.core.measures import Measure
from digsite.track.core.spectrum import Spectrum, keep_positive


class SpectralNorm(Measure):
    """The largest singular value: a size and no dimension."""

    IS_DIMENSION = False

    @staticmethod
    def measure(spectrum: Spectrum) -> Float[Tensor, "*stack"]:
        """s_1."""
        return spectrum.squared[..., 0].sqrt()


class StableRank(Measure):
    """Energy over the largest squared singular value: F^2 / s1^2, at least 1 and at most the rank."""

    @staticmethod
    def measure(spectrum: Spectrum) -> Float[Tensor, "*stack"]:
        """sum s^2 / s_1^2."""
        return spectrum.squared.sum(-1) / keep_positive(spectrum.squared[..., 0])


class NuclearNormRatio(Measure):
    """Sum of singular values over the largest one: sum s / s1."""

    @staticmethod
    def measure(spectrum: Spectrum) -> Float[Tensor, "*stack"]:
        """sum s / s_1."""
        return spectrum.singular.sum(-1) / keep_positive(spectrum.singular[..., 0])


class ParticipationRatio(Measure):
    """Participation ratio of singular values, (sum s)^2 / sum s^2: the original's definition."""

    @staticmethod
    def measure(spectrum: Spectrum) -> Float[Tensor, "*stack"]:
        """(sum s)^2 / sum s^2."""
        return spectrum.singular.sum(-1).square() / keep_positive(spectrum.singular.square().sum(-1))


class ParticipationRatioVariance(Measure):
    """Participation ratio of variances, (sum s^2)^2 / sum s^4: the field's definition; it needs no decomposition."""

    @staticmethod
    def measure(spectrum: Spectrum) -> Float[Tensor, "*stack"]:
        """(sum s^2)^2 / sum s^4: of the variances, which is what others call participation ratio."""
        return spectrum.squared.sum(-1).square() / keep_positive(spectrum.squared.square().sum(-1))


class EntropyRank(Measure):
    """Exponential of the entropy of s / sum s (the effective rank of Roy and Vetterli, RankMe's score)."""

    @staticmethod
    def measure(spectrum: Spectrum) -> Float[Tensor, "*stack"]:
        """exp of the entropy of s / sum s."""
        share = spectrum.singular / keep_positive(spectrum.singular.sum(-1, keepdim=True))
        return torch.special.entr(share).sum(-1).exp()


class EffectiveRank_90(Measure):
    """Fewest directions that hold 90 % of the energy; a whole number, so its curve is a staircase."""

    @staticmethod
    def measure(spectrum: Spectrum) -> Float[Tensor, "*stack"]:
        """How many directions hold nine tenths of the variance."""
        share = spectrum.squared.cumsum(-1) / spectrum.squared.sum(-1, keepdim=True).clamp_min(1e-300)
        return ((share < 0.9).sum(-1) + 1).to(torch.float64)
