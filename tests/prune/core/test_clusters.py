import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from digsite.base.errors import UsageError
from digsite.prune.core.clusters import METHODS, cluster_distances, cluster_features, measure
from digsite.prune.core.hamming import distance_matrix
from digsite.prune.core.packed import pack

KEEP = np.random.default_rng(0).random((30, 50)) < 0.5
DISTANCES = distance_matrix(pack(KEEP))


def by_hand(labels):
    within = [DISTANCES[i, j] for i in range(30) for j in range(i) if labels[i] == labels[j]]
    between = [DISTANCES[i, j] for i in range(30) for j in range(i) if labels[i] != labels[j]]
    return np.mean(within), np.mean(between)


@pytest.mark.parametrize("method", METHODS)
def test_numbers_are_means_over_pairs(method):
    found = cluster_features(KEEP, 5, "rows", method)
    within, between = by_hand(found.labels)
    assert found.metrics.within == pytest.approx(within) and found.metrics.between == pytest.approx(between)
    assert found.metrics.separation == pytest.approx(between / within)
    assert sum(found.metrics.sizes) == 30 and found.metrics.block.shape[0] == len(found.metrics.sizes)
    assert found.metrics.silhouette == pytest.approx(
        silhouette_score(DISTANCES, found.labels, metric="precomputed")
    )


def test_a_singleton_is_listed_and_never_counts_as_perfect():
    labels = np.zeros(30, int)
    labels[7] = 1
    metrics = measure(DISTANCES, labels)
    assert metrics.n_singletons == 1 and np.isnan(metrics.cohesion[1])
    assert metrics.within == pytest.approx(by_hand(labels)[0]) and metrics.separation < 1.2


def test_one_cluster_says_nothing():
    metrics = measure(DISTANCES, np.zeros(30, int))
    assert np.isnan(metrics.between) and metrics.silhouette == 0.0


def test_some_features_and_columns():
    found = cluster_features(KEEP, 3, features=np.arange(10))
    assert len(found.labels) == 10
    with pytest.raises(UsageError, match="60 clusters were asked for, but there are 50"):
        cluster_features(KEEP, 60)
    with pytest.raises(UsageError, match="Unknown clustering method 'wadr'"):
        cluster_distances(DISTANCES, 3, "wadr")
