import numpy as np
import pytest

from digsite.prune.judge.attribution import attribute_mask, measure_densities

RNG = np.random.default_rng(0)
W = RNG.standard_normal((80, 120))


def shares(keep, weight=W):
    found = attribute_mask(keep, weight)
    total = found.rows + found.columns + found.magnitude + found.joint + found.residual
    assert total == pytest.approx(1)
    return found


def test_each_cause_is_found_where_it_is_the_only_one():
    assert shares(np.broadcast_to(RNG.random((80, 1)) < 0.5, W.shape).copy()).rows == pytest.approx(1)
    assert shares(np.broadcast_to(RNG.random((1, 120)) < 0.5, W.shape).copy()).columns == pytest.approx(1)
    by_size = np.abs(W) > np.median(np.abs(W), axis=1, keepdims=True)
    assert shares(by_size).magnitude > 0.93
    assert shares(RNG.random(W.shape) < 0.5).residual > 0.9


def test_a_cut_at_size_times_norm_is_joint():
    score = np.abs(W) * np.exp(RNG.standard_normal(120))
    found = shares(score > np.median(score, axis=1, keepdims=True))
    assert found.rows == 0 and found.columns > 0.1 and found.magnitude > 0.2 and found.joint > 0.05
    assert found.residual < 0.2
    assert (
        shares(score > np.median(score, axis=1, keepdims=True), RNG.standard_normal(W.shape)).magnitude < 0.03
    )


def test_a_constant_mask_has_no_causes():
    assert attribute_mask(np.ones((3, 4), bool), W[:3, :4]).residual == 0.0


def test_shares_of_a_mask_made_of_margins():
    keep = np.zeros((4, 10), bool)
    keep[:, :5] = True  # columns explain everything
    seen = measure_densities(keep)
    assert (seen.density, seen.row_share, seen.column_share) == (0.5, 0.0, 1.0) and seen.margins == 1.0
    assert seen.rows == (0.5, 0.5) and seen.columns == (0.0, 1.0)


def test_coin_flips_are_explained_as_little_as_counting_noise():
    keep = np.random.default_rng(0).random((400, 300)) < 0.5
    assert measure_densities(keep).margins == pytest.approx(1 / 400 + 1 / 300, rel=0.3)


def test_a_constant_mask_has_nothing_to_explain():
    assert measure_densities(np.ones((3, 3), bool)).margins == 0.0
