import numpy as np
import read_networks
import torch

from digsite.read.core.population import stack_models, tabulate_features
from digsite.read.core.readers import statistics


def test_moments_are_numpys():
    x = torch.randn(3, 101, dtype=torch.float64)
    found, a = statistics.measure_moments(x).numpy(), x.numpy()
    expected = np.column_stack([a.mean(1), a.var(1), np.quantile(a, [0, 0.25, 0.5, 0.75, 1], axis=1).T])
    assert np.allclose(found, expected)


def test_the_published_set_has_forty_two_numbers_for_three_layers():
    table = tabulate_features(stack_models([read_networks.make("relu mlp")]), statistics.extract_statistics)
    assert sum(n.split("/")[0] in ("layer0", "layer1", "layer2") for n in table.names) == 42
