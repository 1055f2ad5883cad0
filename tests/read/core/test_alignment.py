import numpy as np

from digsite.read.core import alignment
from digsite.read.core.feature_engine import quality
from digsite.read.judge.comparison import shuffled_inputs


def test_shuffled_inputs_fall_short_of_what_their_strength_promises(sides):
    train, test = sides
    found = alignment.fit(train.population, quality(train), 0)
    own, strange = (found.p_values(c.population) for c in (test, shuffled_inputs(test, 0)))
    good = test.labels["test_accuracy"].to_numpy() > 0.6
    assert np.median(strange[good]) < 0.2 < np.median(own[good])


def test_restored_gives_the_same(sides):
    found = alignment.fit(sides[0].population, quality(sides[0]), 0)
    back = alignment.restore(found.tensors())
    assert np.array_equal(back.p_values(sides[1].population), found.p_values(sides[1].population))


def test_strength_does_not_know_one_input_from_another(sides):
    shuffled = shuffled_inputs(sides[1], 0)
    for a, b in zip(sides[1].population.groups, shuffled.population.groups):
        x, y = (alignment._strength(alignment.maps_of(g)) for g in (a, b))
        assert np.allclose(x, y, atol=1e-5)
