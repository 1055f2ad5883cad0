import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.decompose.judge import truth


@given(st.integers(2, 6), st.integers(0, 4), st.integers(0, 10_000))
def test_a_shuffled_identity_is_recovered(n, spare, seed):
    order = np.random.default_rng(seed).permutation(n + spare)
    importance = np.eye(n, n + spare)[:, order]
    assert truth.identity_error(importance, n, 0.1) == 0
    assert truth.owned_features(importance, 0.1).all()
    assert truth.dense_error(importance, n, 0.1) == 0


@given(st.integers(3, 6), st.data())
def test_each_wrong_entry_counts_once(n, data):
    importance = np.eye(n, n + 2)
    row, column = data.draw(st.integers(0, n - 1)), data.draw(st.integers(n, n + 1))
    importance[row, column] = 0.15
    assert truth.identity_error(importance, n, 0.1) == 1
    assert truth.identity_error(importance, n, 0.2) == 0
    importance[row, row] = 0.85
    assert truth.identity_error(importance, n, 0.1) == 2


def test_one_component_for_two_features_is_seen():
    importance = np.eye(4, 6)
    importance[0, 1] = 1
    assert truth.identity_error(importance, 4, 0.2) == 1
    assert truth.owned_features(importance, 0.2).tolist() == [False, False, True, True]


def test_dense_counts_missing_and_surplus_columns():
    importance = np.zeros((5, 4))
    importance[:, 0] = 1
    assert truth.dense_error(importance, 1, 0.1) == 0
    assert truth.dense_error(importance, 2, 0.1) == 1
    importance[2, 3] = 0.5
    assert truth.dense_error(importance, 1, 0.1) == 1


def test_patterns_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="for 5 features, and the model has 4"):
        truth.identity_error(np.eye(4), 5, 0.1)
    with pytest.raises(UsageError, match="at least 4 components"):
        truth.identity_error(np.zeros((4, 3)), 4, 0.1)


def test_columns_as_components_match_perfectly():
    weight = torch.randn(5, 3, dtype=torch.float64)
    found = truth.match_columns(
        torch.eye(5, 8, dtype=torch.float64), torch.cat([weight, torch.zeros(3, 3)]), weight
    )
    assert found.mmcs == pytest.approx(1)
    assert found.ml2r == pytest.approx(1)


def test_half_a_column_has_half_its_length():
    weight = torch.randn(5, 3, dtype=torch.float64)
    found = truth.match_columns(torch.eye(5, dtype=torch.float64), 0.5 * weight, weight)
    assert found.mmcs == pytest.approx(1)
    assert found.ml2r == pytest.approx(0.5)


def test_small_components_do_not_win_among_the_alive():
    weight = torch.eye(2, dtype=torch.float64)
    v = torch.tensor([[1.0, 1e-3, 0], [0, 0, 1]], dtype=torch.float64)
    u = torch.tensor([[1.0, 0.4], [1, 0], [0, 1]], dtype=torch.float64)
    assert truth.match_columns(v, u, weight).mmcs == pytest.approx(1)
    assert truth.match_columns(v, u, weight, alive_only=True).mmcs < 0.97
    assert truth.alive(v, u) == 2
