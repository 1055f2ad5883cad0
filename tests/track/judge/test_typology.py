"""The number of kinds: one cloud is no clusters, separate clouds are counted."""

import numpy as np
import pytest

from digsite.track.judge.typology import typology


@pytest.mark.parametrize("seed", range(4))
def test_one_cloud_has_no_clusters_even_when_it_is_long(seed: int) -> None:
    cloud = np.random.default_rng(seed).standard_normal((150, 6)) * [1, 5, 1, 9, 1, 1]
    cloud[:, 1] += cloud[:, 3]
    assert typology(cloud, 0, references=10).k == 1


@pytest.mark.parametrize("k", [2, 3])
def test_separate_clouds_are_counted(k: int) -> None:
    rng = np.random.default_rng(k)
    cloud = np.concatenate([rng.standard_normal((60, 6)) + 12 * np.eye(6)[i] for i in range(k)])
    found = typology(cloud, 0, references=10)
    assert found.k == k
    assert sorted(np.bincount(found.labels).tolist()) == [60] * k
    assert found.silhouette is not None and found.silhouette > 0.25


def test_few_jumps_have_no_clusters() -> None:
    assert typology(np.zeros((3, 6)), 0).k == 1
    assert typology(np.zeros((0, 6)), 0).k == 1
