import numpy as np
import pytest
import read_networks
import torch

from digsite.read.core.population import Population, stack_models, tabulate_features
from digsite.read.core.readers import neurons
from digsite.read.core.symmetries import SYMMETRIES, change_group


@pytest.mark.parametrize(
    ("name", "symmetry"),
    [("relu mlp", "permutation"), ("relu mlp", "scale"), ("tanh mlp", "sign"), ("wild cnn", "scale")],
)
def test_canonical_features_do_not_move(name, symmetry):
    people = stack_models([read_networks.make(name)])
    group = people.groups[0]
    other = change_group(group, SYMMETRIES[symmetry](group, np.random.default_rng(0)))
    a, b = (tabulate_features(Population([g], 1), neurons.extract_neurons).values for g in (group, other))
    assert np.allclose(a, b, atol=1e-4, equal_nan=True)


def test_raw_features_see_scales():
    people = stack_models([read_networks.make("relu mlp")])
    group = people.groups[0]
    other = change_group(group, SYMMETRIES["scale"](group, np.random.default_rng(0)))
    a, b = (neurons.extract_neurons(g, False)[1] for g in (group, other))
    assert not np.allclose(a, b, atol=1e-2, equal_nan=True)


def test_digest_is_numpys():
    x = torch.randn(2, 9, dtype=torch.float64)
    a = x.numpy()
    expected = np.column_stack([np.quantile(a, [0, 0.25, 0.5, 0.75, 1], axis=1).T, a.mean(1), a.std(1)])
    assert np.allclose(neurons.digest_neurons(x).numpy(), expected)


def test_inputs_and_outputs_have_their_own_columns():
    table = tabulate_features(stack_models([read_networks.make("gelu mlp")]), neurons.extract_neurons)
    weight = read_networks.make("gelu mlp").layers[0].weight.detach().double()
    assert np.isclose(
        dict(zip(table.names, table.values[0]))["input_norm3"], float(weight[:, 3].norm().log())
    )
