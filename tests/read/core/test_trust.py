import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from digsite.read.core import trust
from digsite.read.core.feature_engine import weigh_by_accuracy
from digsite.read.judge.comparison import shuffled_inputs


def test_members_have_uniform_p_values_and_strangers_small_ones():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(5, 12))
    zoo = rng.normal(size=(600, 5)) @ mix
    found = trust.fit_membership(zoo, np.random.default_rng(1))
    fresh = found.p_values(rng.normal(size=(400, 5)) @ mix)
    assert (fresh < 0.01).mean() < 0.03 and abs(np.median(fresh) - 0.5) < 0.1
    assert (found.p_values((rng.normal(size=(50, 5)) + 6) @ mix) < 0.01).mean() > 0.9


def test_restored_gives_the_same():
    zoo = np.random.default_rng(0).normal(size=(60, 4))
    found = trust.fit_membership(zoo, np.random.default_rng(1))
    assert np.array_equal(trust.restore_membership(found.tensors()).p_values(zoo), found.p_values(zoo))


def test_missing_features_are_no_reason_to_be_a_stranger():
    zoo = np.random.default_rng(0).normal(size=(60, 4))
    found = trust.fit_membership(zoo, np.random.default_rng(1))
    assert found.p_values(np.full((1, 4), np.nan))[0] > 0.05


@given(st.integers(20, 400))
def test_margin_is_the_exact_order_statistic(n):
    residuals = np.random.default_rng(n).normal(size=n)
    found = trust.fit_margin(residuals)
    assert found == np.sort(np.abs(residuals))[math.ceil((n + 1) * 0.9) - 1]


def test_too_few_networks_give_an_infinite_interval():
    assert trust.fit_margin(np.arange(5.0)) == math.inf


def test_coverage_on_fresh_draws():
    rng = np.random.default_rng(0)
    hits = [
        trust.measure_coverage(rng.normal(size=300), np.zeros(300), trust.fit_margin(rng.normal(size=300)))
        for _ in range(50)
    ]
    assert abs(np.mean(hits) - 0.9) < 0.01


def test_class_sets_cover_and_are_never_empty():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 2000)
    y = np.array([rng.choice(4, p=row) for row in p])
    at = trust.fit_threshold(p[np.arange(1000), y[:1000]])
    sets = trust.class_sets(p[1000:], at)
    assert sets.any(1).all()
    assert abs(sets[np.arange(1000), y[1000:]].mean() - 0.9) < 0.03


def test_shuffled_inputs_fall_short_of_what_their_strength_promises(sides):
    train, test = sides
    found = trust.fit_alignment(train.population, weigh_by_accuracy(train), 0)
    own, strange = (found.p_values(c.population) for c in (test, shuffled_inputs(test, 0)))
    good = test.labels["test_accuracy"].to_numpy() > 0.6
    assert np.median(strange[good]) < 0.2 < np.median(own[good])


def test_restored_alignment_gives_the_same(sides):
    found = trust.fit_alignment(sides[0].population, weigh_by_accuracy(sides[0]), 0)
    back = trust.restore_alignment(found.tensors())
    assert np.array_equal(back.p_values(sides[1].population), found.p_values(sides[1].population))


def test_strength_does_not_know_one_input_from_another(sides):
    shuffled = shuffled_inputs(sides[1], 0)
    for a, b in zip(sides[1].population.groups, shuffled.population.groups):
        x, y = (trust._measure_strength(trust.map_group(g)) for g in (a, b))
        assert np.allclose(x, y, atol=1e-5)


def test_below_ten_recipes_no_interval_can_promise_ninety_percent():
    ones = np.ones(50)
    assert trust.fit_recipe_margin([ones] * 8) == math.inf
    assert trust.fit_recipe_margin([ones] * 10) == 1.0


def test_a_recipe_counts_once_however_many_networks_it_has():
    few, many = np.full(5, 3.0), np.full(5000, 0.1)
    assert trust.fit_recipe_margin([many, *[few] * 19]) == 3.0
