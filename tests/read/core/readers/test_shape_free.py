import numpy as np
import pytest
import read_networks

from digsite.read.core.population import stack_models
from digsite.read.core.readers.shape_free import NUMBERS, extract_shape_free


@pytest.mark.parametrize("kind", ["relu mlp", "wild cnn", "gru", "post-norm transformer"])
def test_every_family_has_the_same_columns_and_none_is_missing(kind):
    table = extract_shape_free(stack_models([read_networks.make(kind)]).groups[0])[1]
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
