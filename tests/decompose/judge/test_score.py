import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.decompose.config import Truth
from digsite.decompose.core.decomposition import Components
from digsite.decompose.judge import baselines, score
from digsite.decompose.judge import verdict as report
from digsite.decompose.judge.score import match_columns

PATTERNS = {"2": Truth(identity=4), "*": Truth(dense=4)}


def test_the_first_pattern_that_fits_counts():
    assert {m: t.identity for m, t in score.match_patterns(PATTERNS, ["0", "2"]).items()} == {"0": 0, "2": 4}


def test_features_are_seen_from_either_side(exact):
    assert score.view_features(exact, "0", 8) is not None
    flipped = score.view_features(exact, "0", 4)
    assert flipped is not None
    torch.testing.assert_close(flipped.weight, exact.components("0").weight.T)
    assert score.view_features(exact, "0", 7) is None


def test_singular_vectors_add_up_and_are_no_features():
    weight = torch.randn(5, 2, dtype=torch.float64)
    parts = Components(torch.zeros(5, 1), torch.zeros(1, 2), weight)
    found = baselines.split_singular(parts)
    torch.testing.assert_close(found.V @ found.U, weight)
    assert match_columns(found.V, found.U, weight).mmcs < 0.999


def test_rotated_parts_have_the_same_product_and_lose_the_features():
    weight = torch.randn(5, 3, dtype=torch.float64)
    parts = Components(torch.eye(5, dtype=torch.float64), weight, weight)
    found = baselines.rotate_parts(parts, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.V @ found.U, weight)
    assert match_columns(found.V, found.U, weight).mmcs < 0.99 < match_columns(parts.V, parts.U, weight).mmcs


def test_summaries_have_intervals_over_members():
    rows = [{"a": float(i), "recovered_0.2": float(i > 0)} for i in range(5)]
    found = report.summarize_score(rows, "a")
    assert found.value == 2
    assert found.low is not None
    assert (found.low, found.high) == (0, 4)
    share = report.summarize_score(rows, "recovered_0.2")
    assert share.value == 0.8
    assert share.high is not None
    assert share.high < 1


def test_the_verdict_is_computed():
    row = {"recovered_0.2": 1.0, "linear1/mmcs": 0.9991, "linear1/ml2r": 1.001}
    text = report.tell_recovery([row, row], ["linear1"], {"linear1/mmcs": {"svd": 0.7, "rotated": 0.957}})
    assert text.index("recovered_0.2") < text.index("error_0.2") < text.index("linear1/mmcs")
    assert (
        "'rotated'" in text
    )  # the strongest rival, not the weakest: in a plane forty directions are always near
    assert "cosine" not in report.tell_recovery([{"recovered_0.2": 0.0}], ["x"], {})


def test_pattern_errors_are_zero_for_the_exact_one(exact):
    probes = score.probe_importance(exact, 8)
    assert score.count_pattern_errors(probes, {"0": Truth(dense=4)}, 0.1) == {"0": 0}
    assert score.count_pattern_errors(probes, {"0": Truth(dense=3)}, 0.1)["0"] > 0
    assert pytest.approx(0.75) == score.PROBE


@given(st.integers(2, 6), st.integers(0, 4), st.integers(0, 10_000))
def test_a_shuffled_identity_is_recovered(n, spare, seed):
    order = np.random.default_rng(seed).permutation(n + spare)
    importance = np.eye(n, n + spare)[:, order]
    assert score.count_identity_errors(importance, n, 0.1) == 0
    assert score.find_owned_features(importance, 0.1).all()
    assert score.count_dense_errors(importance, n, 0.1) == 0


@given(st.integers(3, 6), st.data())
def test_each_wrong_entry_counts_once(n, data):
    importance = np.eye(n, n + 2)
    row, column = data.draw(st.integers(0, n - 1)), data.draw(st.integers(n, n + 1))
    importance[row, column] = 0.15
    assert score.count_identity_errors(importance, n, 0.1) == 1
    assert score.count_identity_errors(importance, n, 0.2) == 0
    importance[row, row] = 0.85
    assert score.count_identity_errors(importance, n, 0.1) == 2


def test_one_component_for_two_features_is_seen():
    importance = np.eye(4, 6)
    importance[0, 1] = 1
    assert score.count_identity_errors(importance, 4, 0.2) == 1
    assert score.find_owned_features(importance, 0.2).tolist() == [False, False, True, True]


def test_dense_counts_missing_and_surplus_columns():
    importance = np.zeros((5, 4))
    importance[:, 0] = 1
    assert score.count_dense_errors(importance, 1, 0.1) == 0
    assert score.count_dense_errors(importance, 2, 0.1) == 1
    importance[2, 3] = 0.5
    assert score.count_dense_errors(importance, 1, 0.1) == 1


def test_patterns_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="for 5 features, and the model has 4"):
        score.count_identity_errors(np.eye(4), 5, 0.1)
    with pytest.raises(UsageError, match="at least 4 components"):
        score.count_identity_errors(np.zeros((4, 3)), 4, 0.1)


def test_columns_as_components_match_perfectly():
    weight = torch.randn(5, 3, dtype=torch.float64)
    found = score.match_columns(
        torch.eye(5, 8, dtype=torch.float64), torch.cat([weight, torch.zeros(3, 3)]), weight
    )
    assert found.mmcs == pytest.approx(1)
    assert found.ml2r == pytest.approx(1)


def test_half_a_column_has_half_its_length():
    weight = torch.randn(5, 3, dtype=torch.float64)
    found = score.match_columns(torch.eye(5, dtype=torch.float64), 0.5 * weight, weight)
    assert found.mmcs == pytest.approx(1)
    assert found.ml2r == pytest.approx(0.5)


def test_small_components_do_not_win_among_the_alive():
    weight = torch.eye(2, dtype=torch.float64)
    v = torch.tensor([[1.0, 1e-3, 0], [0, 0, 1]], dtype=torch.float64)
    u = torch.tensor([[1.0, 0.4], [1, 0], [0, 1]], dtype=torch.float64)
    assert score.match_columns(v, u, weight).mmcs == pytest.approx(1)
    assert score.match_columns(v, u, weight, alive_only=True).mmcs < 0.97
    assert score.count_sizeable(v, u) == 2
