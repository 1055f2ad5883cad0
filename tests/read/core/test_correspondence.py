"""The closed form against all permutations, against chance, and on pairs that are related."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from digsite.read.core.correspondence import agreement_of_tensors, combine_p_values, measure_correspondence


@given(st.integers(0, 10_000), st.integers(3, 6))
@settings(max_examples=25, deadline=None)
def test_mean_and_variance_over_all_numberings(seed, n):
    g = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, 4, generator=g, dtype=torch.float64) for _ in range(2))
    values = np.array([float((a * b[list(p)]).sum()) for p in permutations(range(n))])
    expected = (float((a * b).sum()) - values.mean()) / values.std()
    assert measure_correspondence(a, b).z == pytest.approx(expected, abs=1e-8)


def test_unrelated_networks_with_a_common_mean_pass_the_test_at_its_level():
    g = torch.Generator().manual_seed(0)
    common = torch.randn(1, 30, generator=g)  # what all networks learned about the inputs
    p = [
        agreement_of_tensors(
            common + torch.randn(16, 30, generator=g), common + torch.randn(16, 30, generator=g)
        ).p
        for _ in range(300)
    ]
    assert np.mean(np.array(p) < 0.05) <= 0.08


def test_a_faint_trace_of_the_origin_is_found():
    g = torch.Generator().manual_seed(1)
    a = torch.randn(64, 64, generator=g)
    assert agreement_of_tensors(a, 0.2 * a + torch.randn(64, 64, generator=g)).p < 1e-9
    assert agreement_of_tensors(a, a[torch.randperm(64, generator=g)]).p > 1e-3


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (7,)])
def test_nothing_is_claimed_without_an_axis(shape):
    assert agreement_of_tensors(torch.ones(shape), torch.ones(shape)).p == 1.0


def test_no_p_value_is_smaller_than_the_number_of_numberings_allows():
    a = torch.tensor([[1.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    assert measure_correspondence(a, a).p >= 0.5


def test_bonferroni():
    assert combine_p_values([0.02, 0.5]) == pytest.approx(0.04)
    assert combine_p_values([]) == 1.0
