import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from digsite.base.errors import UsageError
from digsite.prune.core.clusters import (
    METHODS,
    cluster_all,
    cluster_distances,
    cluster_features,
    find_neighborhood,
    measure_clusters,
    measure_separations,
    run_kmeans,
    summarize_distances,
)
from digsite.prune.core.hamming import measure_distances
from digsite.prune.core.packed import orient_features, pack

KEEP = np.random.default_rng(0).random((30, 50)) < 0.5
DISTANCES = measure_distances(pack(KEEP))


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
    metrics = measure_clusters(DISTANCES, labels)
    assert metrics.n_singletons == 1 and np.isnan(metrics.cohesion[1])
    assert metrics.within == pytest.approx(by_hand(labels)[0]) and metrics.separation < 1.2


def test_one_cluster_says_nothing():
    metrics = measure_clusters(DISTANCES, np.zeros(30, int))
    assert np.isnan(metrics.between) and metrics.silhouette == 0.0


def test_some_features_and_columns():
    found = cluster_features(KEEP, 3, features=np.arange(10))
    assert len(found.labels) == 10
    with pytest.raises(UsageError, match="60 clusters were asked for, but there are 50"):
        cluster_features(KEEP, 60)
    with pytest.raises(UsageError, match="Unknown clustering method 'wadr'"):
        cluster_distances(DISTANCES, 3, "wadr")


def hamming(bits):
    return np.rint(cdist(bits, bits, "hamming") * bits.shape[1]).astype(int)


@pytest.mark.parametrize("k", [2, 5])
def test_as_good_as_sklearn_and_its_inertia_is_true(k):
    bits = np.random.default_rng(k).random((60, 80)) < np.linspace(0.2, 0.8, 60)[:, None]
    found = run_kmeans(hamming(bits), k, np.random.default_rng(0), n_init=20)
    centers = np.stack([bits[found.labels == c].mean(0) for c in range(k)])
    assert found.inertia == pytest.approx(((bits - centers[found.labels]) ** 2).sum())
    theirs = KMeans(k, n_init=20, random_state=0).fit(bits.astype(float)).inertia_
    assert found.inertia <= theirs * 1.01
    assert found.all_labels.shape == (20, 60) and found.inertia == found.inertias.min()


def test_k_means_says_whether_it_came_to_rest():
    bits = np.random.default_rng(0).random((80, 60)) < 0.5
    cut, whole = (run_kmeans(hamming(bits), 6, np.random.default_rng(0), most=n) for n in (1, 100))
    assert (whole.settled > 0).all() and whole.settled.max() < 100
    assert (cut.settled == 0).any(), "one step is not enough for all starts"
    again = run_kmeans(hamming(bits), 6, np.random.default_rng(0), most=int(whole.settled.max()))
    assert np.array_equal(again.labels, whole.labels), "the step it names is enough"
    assert "10 of 10 starts came to rest" in cluster_distances(hamming(bits), 6).convergence
    assert cluster_distances(hamming(bits), 6, "average").convergence == ""


def test_distances_are_summarized_as_numpy_does():
    mask = np.random.default_rng(1).random((40, 50)) < 0.5
    ball = find_neighborhood(orient_features(mask, "rows"), 3, 12)
    labels = np.repeat([0, 1, 2, 3], 3)
    rows = summarize_distances(ball, labels)
    pairs = [(ball.distances[i, j], labels[i] == labels[j]) for i in range(12) for j in range(i + 1, 12)]
    for name, chosen in (
        ("all pairs", (True, False)),
        ("within clusters", (True,)),
        ("between clusters", (False,)),
    ):
        values = np.array([distance for distance, same in pairs if same in chosen])
        assert rows[name]["pairs"] == len(values)
        assert rows[name]["mean"] == pytest.approx(values.mean())
        assert rows[name]["sd"] == pytest.approx(values.std())
    assert "within clusters" not in summarize_distances(ball, np.arange(12)), "singletons have no pair"


def test_separate_groups_are_found():
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1, 2], 15)
    bits = (rng.random((3, 100)) < 0.5)[truth] ^ (rng.random((45, 100)) < 0.05)
    labels = run_kmeans(hamming(bits), 3, rng).labels
    assert all(len(set(labels[truth == group])) == 1 for group in range(3)) and len(set(labels)) == 3


def test_as_many_clusters_as_points_and_equal_points():
    bits = np.eye(6, dtype=bool)
    assert run_kmeans(hamming(bits), 6, np.random.default_rng(0)).inertia == pytest.approx(0, abs=1e-9)
    same = np.ones((5, 9), bool)
    assert run_kmeans(hamming(same), 3, np.random.default_rng(0)).inertia == pytest.approx(0, abs=1e-9)


def test_more_clusters_than_features_are_refused():
    with pytest.raises(UsageError, match="7 clusters were asked for, but there are 6"):
        run_kmeans(hamming(np.eye(6, dtype=bool)), 7, np.random.default_rng(0))


FEATURES = pack(np.random.default_rng(0).random((30, 64)) < 0.5)


def test_the_center_is_first_and_distances_rise():
    ball = find_neighborhood(FEATURES, 11, 9)
    assert ball.members[0] == 11 and len(set(ball.members.tolist())) == 9
    assert (np.diff(ball.to_center) >= 0).all() and (ball.distances[0] == ball.to_center).all()


def test_ratios_are_those_of_the_clusters():
    ratios = measure_separations(FEATURES, [3, 8], 12, [2, 4], seed=5)
    found = cluster_all(find_neighborhood(FEATURES, 8, 12), [2, 4], "kmeans", 10, 5 + 1000)
    assert ratios.shape == (2, 2) and ratios[1].tolist() == [found[k].metrics.separation for k in (2, 4)]


def test_bad_sizes_are_named():
    with pytest.raises(UsageError, match="neighborhood of 31 features was asked for, but there are 30"):
        find_neighborhood(FEATURES, 0, 31)
    with pytest.raises(UsageError, match="13 clusters were asked for, but there are 12"):
        measure_separations(FEATURES, [0], 12, [13])
