import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from digsite.decompose.core.clustering import _best_pair, count_choice_bits, count_group_bits, merge_groups


@given(st.integers(1, 50), st.floats(0, 1))
def test_a_choice_costs_its_entropy(total, share):
    part = round(total * share)
    assert float(count_choice_bits(total, part)) == pytest.approx(
        total * entropy([part / total, 1 - part / total], base=2), abs=1e-9
    )


@given(st.integers(0, 10_000))
def test_the_gain_is_the_difference_of_two_descriptions(seed):
    acts = np.random.default_rng(seed).random((40, 6)) < 0.3
    groups = [[0, 3], [1], [2, 4, 5]]
    columns = np.stack([acts[:, g].any(1) for g in groups], 1)
    i, j, gain = _best_pair(columns, groups, acts.sum(0).astype(float))
    gains = {
        (a, b): count_group_bits(acts[:, groups[a]])
        + count_group_bits(acts[:, groups[b]])
        - count_group_bits(acts[:, groups[a] + groups[b]])
        for a in range(3)
        for b in range(a + 1, 3)
    }
    assert gain == pytest.approx(max(gains.values()))
    assert gain == pytest.approx(gains[i, j])


def test_planted_groups_are_found_in_noise():
    rng = np.random.default_rng(0)
    sources = rng.random((3000, 6)) < 0.1
    acts = sources[:, [0, 0, 0, 1, 1, 2, 3, 4, 5, 5]] & (rng.random((3000, 10)) < 0.97)
    groups, apart, joined = merge_groups(acts)
    assert sorted(map(sorted, groups)) == [[0, 1, 2], [3, 4], [5], [6], [7], [8, 9]]
    assert joined < apart


def test_independent_components_stay_apart():
    acts = np.random.default_rng(1).random((20_000, 8)) < 0.1
    assert len(merge_groups(acts)[0]) == 8


def test_nothing_to_group():
    assert merge_groups(np.zeros((5, 0), dtype=bool)) == ([], 0, 0)
