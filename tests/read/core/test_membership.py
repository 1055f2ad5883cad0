import numpy as np

from digsite.read.core import membership


def test_members_have_uniform_p_values_and_strangers_small_ones():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(5, 12))
    zoo = rng.normal(size=(600, 5)) @ mix
    found = membership.fit(zoo, np.random.default_rng(1))
    fresh = found.p_values(rng.normal(size=(400, 5)) @ mix)
    assert (fresh < 0.01).mean() < 0.03 and abs(np.median(fresh) - 0.5) < 0.1
    assert (found.p_values((rng.normal(size=(50, 5)) + 6) @ mix) < 0.01).mean() > 0.9


def test_restored_gives_the_same():
    zoo = np.random.default_rng(0).normal(size=(60, 4))
    found = membership.fit(zoo, np.random.default_rng(1))
    assert np.array_equal(membership.restore(found.tensors()).p_values(zoo), found.p_values(zoo))


def test_missing_features_are_no_reason_to_be_a_stranger():
    zoo = np.random.default_rng(0).normal(size=(60, 4))
    found = membership.fit(zoo, np.random.default_rng(1))
    assert found.p_values(np.full((1, 4), np.nan))[0] > 0.05
