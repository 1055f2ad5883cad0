import numpy as np
import pytest

from digsite.base.errors import UsageError
from digsite.prune.judge.comparison import (
    decided_by_data,
    expected_keep,
    keep_probability,
    measure_overlap,
    per_feature,
)

RNG = np.random.default_rng(0)
A, B = RNG.random((60, 80)) < np.linspace(0.1, 0.9, 80), RNG.random((60, 80)) < np.linspace(0.1, 0.9, 80)


def test_independent_masks_with_these_margins_have_kappa_zero():
    found = measure_overlap(A, B)
    assert abs(found.kappa) < 0.03 and found.jaccard == pytest.approx(found.expected_jaccard, abs=0.03)
    assert found.jaccard > 1 / 3 + 0.02, "densities alone lift the raw number above that of coin flips"
    assert found.agreement == pytest.approx((A == B).mean())


def test_equal_and_nested_masks_have_kappa_one():
    assert measure_overlap(A, A).kappa == pytest.approx(1) and measure_overlap(A, A).jaccard == 1
    assert measure_overlap(A, A & B).kappa == pytest.approx(1)
    assert measure_overlap(~np.zeros((3, 3), bool), ~np.zeros((3, 3), bool)).kappa == 0.0


def test_expected_masks_have_the_margins():
    keep = A.copy()
    keep[0], keep[1], keep[:, 3], keep[:, 4] = True, False, True, False
    keep[1, 3], keep[0, 4] = False, True
    expected = expected_keep(keep, rounds=500)
    assert (expected >= 0).all() and (expected <= 1).all()
    np.testing.assert_allclose(expected.sum(1)[2:], keep.sum(1)[2:], rtol=0.02)
    np.testing.assert_allclose(expected.sum(0), keep.sum(0), rtol=0.05, atol=0.7)


def test_feature_by_feature():
    found = per_feature(A, B, "columns")
    shared = (A & B).sum(0)
    np.testing.assert_allclose(found.jaccard, shared / (A | B).sum(0))
    np.testing.assert_allclose(found.cosine, shared / np.sqrt(A.sum(0) * B.sum(0)))
    np.testing.assert_allclose(per_feature(A, B, "rows").hamming, (A != B).mean(1))


def test_what_calibration_decides():
    third = A.copy()
    third[0] = ~third[0]
    assert decided_by_data([A, A, third]) == pytest.approx(59 / 60)
    assert keep_probability([A, third])[0].tolist() == [0.5] * 80


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(UsageError, match="different shapes"):
        measure_overlap(A, B[:3])
