import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from digsite.base.errors import UsageError
from digsite.prune.core.kmeans import kmeans


def hamming(bits):
    return np.rint(cdist(bits, bits, "hamming") * bits.shape[1]).astype(int)


@pytest.mark.parametrize("k", [2, 5])
def test_as_good_as_sklearn_and_its_inertia_is_true(k):
    bits = np.random.default_rng(k).random((60, 80)) < np.linspace(0.2, 0.8, 60)[:, None]
    found = kmeans(hamming(bits), k, np.random.default_rng(0), n_init=20)
    centers = np.stack([bits[found.labels == c].mean(0) for c in range(k)])
    assert found.inertia == pytest.approx(((bits - centers[found.labels]) ** 2).sum())
    theirs = KMeans(k, n_init=20, random_state=0).fit(bits.astype(float)).inertia_
    assert found.inertia <= theirs * 1.01
    assert found.all_labels.shape == (20, 60) and found.inertia == found.inertias.min()


def test_separate_groups_are_found():
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1, 2], 15)
    bits = (rng.random((3, 100)) < 0.5)[truth] ^ (rng.random((45, 100)) < 0.05)
    labels = kmeans(hamming(bits), 3, rng).labels
    assert all(len(set(labels[truth == group])) == 1 for group in range(3)) and len(set(labels)) == 3


def test_as_many_clusters_as_points_and_equal_points():
    bits = np.eye(6, dtype=bool)
    assert kmeans(hamming(bits), 6, np.random.default_rng(0)).inertia == pytest.approx(0, abs=1e-9)
    same = np.ones((5, 9), bool)
    assert kmeans(hamming(same), 3, np.random.default_rng(0)).inertia == pytest.approx(0, abs=1e-9)


def test_more_clusters_than_features_are_refused():
    with pytest.raises(UsageError, match="7 clusters were asked for, but there are 6"):
        kmeans(hamming(np.eye(6, dtype=bool)), 7, np.random.default_rng(0))
