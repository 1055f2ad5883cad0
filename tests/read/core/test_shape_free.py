import math

import numpy as np
import pytest
import read_networks

from digsite.read.core.population import stack_models
from digsite.read.core.shape_free import (
    NUMBERS,
    extract_shape_free,
    fit_over_recipes,
    fit_recipe_margin,
    tabulate_shape_free,
)


@pytest.mark.parametrize("kind", ["relu mlp", "wild cnn", "gru", "post-norm transformer"])
def test_every_family_has_the_same_columns_and_none_is_missing(kind):
    table = tabulate_shape_free(stack_models([read_networks.make(kind)]))
    assert table.shape == (1, 5 * len(NUMBERS) + 2) and np.isfinite(table).all()


def test_numbers_do_not_move_with_the_order_of_neurons():
    module = read_networks.make("relu mlp")
    state = dict(module.state_dict())
    names = [n for n in state if n.endswith("weight")]
    order = np.random.default_rng(0).permutation(state[names[0]].shape[0])
    other = state | {
        names[0]: state[names[0]][order],
        names[0].replace("weight", "bias"): state[names[0].replace("weight", "bias")][order],
        names[1]: state[names[1]][:, order],
    }
    one, two = (extract_shape_free(stack_models([s]).groups[0])[1] for s in (state, other))
    assert np.allclose(one, two, atol=1e-6)


def test_below_ten_recipes_no_interval_can_promise_ninety_percent():
    ones = np.ones(50)
    assert fit_recipe_margin([ones] * 8) == math.inf
    assert fit_recipe_margin([ones] * 10) == 1.0


def test_a_recipe_counts_once_however_many_networks_it_has():
    few, many = np.full(5, 3.0), np.full(5000, 0.1)
    assert fit_recipe_margin([many, *[few] * 19]) == 3.0


def test_intervals_hold_for_new_recipes_that_shift_like_the_others():
    """Each recipe has an offset of its own: intervals from within the recipes would be far too narrow."""
    held = []
    for trial in range(12):
        rng = np.random.default_rng(trial)
        recipes = np.repeat(np.arange(16), 15)
        offset = rng.normal(size=17)
        x = rng.normal(size=(240, 3))
        y = x[:, 0] + offset[recipes] + 0.1 * rng.normal(size=240)
        forest, margin = fit_over_recipes(x, y, recipes.astype(str), trial)
        new = rng.normal(size=(40, 3))
        truth = new[:, 0] + offset[16] + 0.1 * rng.normal(size=40)
        held.append(float((np.abs(forest.raw(new)[:, 0] - truth) <= margin).mean()))
    assert 0.75 < np.mean(held) <= 1.0
