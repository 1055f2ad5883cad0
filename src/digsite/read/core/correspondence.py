"""Do two networks have the same neurons in the same places? Closed-form z-scores, without a zoo and without sampling.

Two trainings from different seeds know nothing of each other's numbering: shuffling the hidden neurons of one of them
gives a pair that is as likely as the pair at hand, because initial weights are exchangeable between neurons and gradient
steps keep that. So the agreement of the weights *as they are numbered* can be set against its own distribution over
all numberings, whatever data and recipe the two had in common (Zhu et al. 2025 test independence of language models
this way, by sampling). Over all permutations, the mean and the variance of sum_i <a_i, b_p(i)> are known in closed form
(Hoeffding 1951): no sampling is needed, and p-values far below one over the number of samples have a meaning.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.special import ndtr
from torch import Tensor

_EXACT = 170  # factorials beyond this overflow a float
_NEURONS, _WEIGHTS = (
    768,
    2048,
)  # larger sides are thinned to this many, evenly: any fixed part keeps the test valid


@dataclass(frozen=True)
class NumberingTest:
    """How far the pairing as numbered stands above all other numberings."""

    z: float  # (value - mean) / standard deviation over permutations
    p: float  # one-sided; never below one over the number of permutations


NOTHING = NumberingTest(0.0, 1.0)


def measure_correspondence(
    first: Float[Tensor, "neurons weights"], second: Float[Tensor, "neurons weights"]
) -> NumberingTest:
    """Is row i of `first` more like row i of `second` than like its other rows?

    `first` and `second` hold one row for each neuron; rows that are alike in all neurons (a common mean) count for
    nothing, because the double centering of the inner products takes them out.
    """
    n = len(first)
    if n < 2:
        return NOTHING
    first, second = (_thin_axis(_thin_axis(side, 0, _NEURONS), 1, _WEIGHTS) for side in (first, second))
    n = len(first)
    products = first.double() @ second.double().T
    centered = products - products.mean(0, keepdim=True) - products.mean(1, keepdim=True) + products.mean()
    variance = float(centered.square().sum()) / (n - 1)
    scale = float(products.square().sum()) / (n - 1)
    if variance <= 1e-12 * max(scale, 1e-300):
        return NOTHING
    z = float(centered.diagonal().sum()) / math.sqrt(variance)
    smallest = 1.0 / math.factorial(min(n, _EXACT))
    return NumberingTest(z, max(float(ndtr(-z)), smallest))


def _thin_axis(matrix: Float[Tensor, "rows columns"], axis: int, most: int) -> Tensor:
    """At most `most` evenly spaced slices of an axis."""
    size = matrix.shape[axis]
    return matrix if size <= most else matrix.index_select(axis, torch.linspace(0, size - 1, most).long())


def agreement_of_tensors(first: Tensor, second: Tensor) -> NumberingTest:
    """The weaker of the agreements along both axes of two weight tensors (out, in, ...) of equal shape.

    Only hidden neurons are exchangeable: classes and pixels have meanings, and all networks that learned the same data
    agree about them. Which axis is hidden need not be known, because the weaker one is never more certain than the
    hidden one: the larger of two p-values, one of them valid, is valid.
    """
    if first.ndim < 2 or min(first.shape[:2]) < 2:
        return NOTHING
    rows = measure_correspondence(first.flatten(1), second.flatten(1))
    columns = measure_correspondence(first.transpose(0, 1).flatten(1), second.transpose(0, 1).flatten(1))
    return rows if rows.p >= columns.p else columns


def combine_p_values(p_values: list[float]) -> float:
    """The smallest p-value times their number (Bonferroni): valid however the tensors of a network depend on each other.

    An empty list, from networks without a testable tensor, gives 1: no evidence.
    """
    return min(1.0, min(p_values) * len(p_values)) if p_values else 1.0
