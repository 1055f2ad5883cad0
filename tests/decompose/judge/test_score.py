import pytest
import torch

from digsite.decompose.config import Truth
from digsite.decompose.core.decomposition import Components
from digsite.decompose.judge import baselines, score
from digsite.decompose.judge import verdict as report
from digsite.decompose.judge.truth import match_columns

PATTERNS = {"2": Truth(identity=4), "*": Truth(dense=4)}


def test_the_first_pattern_that_fits_counts():
    assert {m: t.identity for m, t in score.wanted(PATTERNS, ["0", "2"]).items()} == {"0": 0, "2": 4}


def test_features_are_seen_from_either_side(exact):
    assert score.feature_view(exact, "0", 8) is not None
    flipped = score.feature_view(exact, "0", 4)
    assert flipped is not None
    torch.testing.assert_close(flipped.weight, exact.components("0").weight.T)
    assert score.feature_view(exact, "0", 7) is None


def test_singular_vectors_add_up_and_are_no_features():
    weight = torch.randn(5, 2, dtype=torch.float64)
    parts = Components(torch.zeros(5, 1), torch.zeros(1, 2), weight)
    found = baselines.svd(parts)
    torch.testing.assert_close(found.V @ found.U, weight)
    assert match_columns(found.V, found.U, weight).mmcs < 0.999


def test_rotated_parts_have_the_same_product_and_lose_the_features():
    weight = torch.randn(5, 3, dtype=torch.float64)
    parts = Components(torch.eye(5, dtype=torch.float64), weight, weight)
    found = baselines.rotated(parts, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.V @ found.U, weight)
    assert match_columns(found.V, found.U, weight).mmcs < 0.99 < match_columns(parts.V, parts.U, weight).mmcs


def test_summaries_have_intervals_over_members():
    rows = [{"a": float(i), "recovered_0.2": float(i > 0)} for i in range(5)]
    found = report.summarize(rows, "a")
    assert found.value == 2
    assert found.low is not None
    assert (found.low, found.high) == (0, 4)
    share = report.summarize(rows, "recovered_0.2")
    assert share.value == 0.8
    assert share.high is not None
    assert share.high < 1


def test_the_verdict_is_computed():
    row = {"recovered_0.2": 1.0, "linear1/mmcs": 0.9991, "linear1/ml2r": 1.001}
    text = report.verdict([row, row], ["linear1"], {"linear1/mmcs": {"svd": 0.7, "rotated": 0.957}})
    assert text.index("recovered_0.2") < text.index("error_0.2") < text.index("linear1/mmcs")
    assert (
        "'rotated'" in text
    )  # the strongest rival, not the weakest: in a plane forty directions are always near
    assert "cosine" not in report.verdict([{"recovered_0.2": 0.0}], ["x"], {})


def test_pattern_errors_are_zero_for_the_exact_one(exact):
    probes = score.probe_importance(exact, 8)
    assert score.pattern_errors(probes, {"0": Truth(dense=4)}, 0.1) == {"0": 0}
    assert score.pattern_errors(probes, {"0": Truth(dense=3)}, 0.1)["0"] > 0
    assert pytest.approx(0.75) == score.PROBE
