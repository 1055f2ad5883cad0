import numpy as np
import pytest

from digsite.base.errors import UsageError
from digsite.prune.core.neighborhood import around, cluster_all, separations
from digsite.prune.core.packed import pack

FEATURES = pack(np.random.default_rng(0).random((30, 64)) < 0.5)


def test_the_center_is_first_and_distances_rise():
    ball = around(FEATURES, 11, 9)
    assert ball.members[0] == 11 and len(set(ball.members.tolist())) == 9
    assert (np.diff(ball.to_center) >= 0).all() and (ball.distances[0] == ball.to_center).all()


def test_ratios_are_those_of_the_clusters():
    ratios = separations(FEATURES, [3, 8], 12, [2, 4], seed=5)
    found = cluster_all(around(FEATURES, 8, 12), [2, 4], "kmeans", 10, 5 + 1000)
    assert ratios.shape == (2, 2) and ratios[1].tolist() == [found[k].metrics.separation for k in (2, 4)]


def test_bad_sizes_are_named():
    with pytest.raises(UsageError, match="neighborhood of 31 features was asked for, but there are 30"):
        around(FEATURES, 0, 31)
    with pytest.raises(UsageError, match="13 clusters were asked for, but there are 12"):
        separations(FEATURES, [0], 12, [13])
