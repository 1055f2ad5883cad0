import numpy as np
import pytest

from digsite.prune.judge.attribution import attribute

RNG = np.random.default_rng(0)
W = RNG.standard_normal((80, 120))


def shares(keep, weight=W):
    found = attribute(keep, weight)
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
    assert attribute(np.ones((3, 4), bool), W[:3, :4]).residual == 0.0
