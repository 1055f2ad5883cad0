import numpy as np
import torch

from digsite.read.core.population import population
from digsite.read.core.readers import spectra
from digsite.read.core.table import Table, by_layer, tabulate, useful


def test_last_layer_has_one_name_at_every_depth():
    deep = by_layer(["x"], [np.array([[float(i)]]) for i in range(7)])
    shallow = by_layer(["x"], [np.array([[float(i)]]) for i in range(2)])
    value = [dict(zip(names, values[0])) for names, values in (deep, shallow)]
    assert (value[0]["layer-1/x"], value[1]["layer-1/x"]) == (6, 1)
    assert value[0]["layermean/x"] == 3 and "layer3/x" not in value[1]


def test_mixed_depths_share_a_table_with_gaps():
    models = [
        torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 3)),
        torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 5), torch.nn.Linear(5, 3)),
    ]
    table = tabulate(population(models), spectra.extract)
    assert np.isnan(table.select(["layer2/log_norm"])).ravel().tolist() == [True, False]
    assert not np.isnan(table.select(["layer-1/log_norm"])).any()


def test_constant_and_repeated_columns_are_dropped():
    values = np.array([[1.0, 2, 2, 5], [1, 3, 3, 6]])
    assert useful(Table(("a", "b", "c", "d"), values), np.arange(2)) == ("b", "d")
