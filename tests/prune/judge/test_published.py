import numpy as np
import pytest

from digsite.prune.judge import published

BITS = np.random.default_rng(0).random((30, 80)) < 0.5


def test_singletons_alone_push_the_ratio_to_k_over_k_minus_s():
    labels = np.array([0] * 27 + [1, 2, 3])
    found = published.measure_as_published(BITS, labels, 0)
    assert found.n_singletons == 3 and found.ratio == pytest.approx(published.artefact_ratio(4, 3), rel=0.1)
    assert published.artefact_ratio(4, 4) == float("inf")


def test_the_numbers_by_hand():
    labels = np.array([0, 0, 1])
    bits = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]], bool)
    found = published.measure_as_published(bits, labels, 0)
    assert found.within == pytest.approx((0.25 + 0) / 2) and found.between == pytest.approx((1 + 0.75) / 2)


def test_center_ratio_and_weight_clusters():
    two = np.vstack([np.zeros((10, 20)), np.ones((10, 20))]).astype(bool)
    two[0, 0] = True
    assert published.centers_ratio(two, 2, 0) > 20
    assert len(set(published.cluster_weights(two * 3.0, 2, 0)[:10])) == 1


def test_chance_is_high_where_the_values_lie_dense():
    assert 0 < published.chance_of_artefact(4, 0.02) < published.chance_of_artefact(16, 0.02) < 1
    assert published.chance_of_artefact(16, 0.5) == pytest.approx(1)
