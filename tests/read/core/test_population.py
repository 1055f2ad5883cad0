import numpy as np
import pytest
import torch
from torch import nn

from digsite.base.errors import UsageError
from digsite.read.core.population import (
    FeatureTable,
    by_layer,
    find_useful,
    known_of,
    source_of,
    stack_models,
    tabulate_features,
)
from digsite.read.core.readers import spectra
from digsite.weights import WeightBundle


def _mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))


def test_mixed_shapes_are_grouped_and_keep_their_places():
    people = stack_models([_mlp(5), _mlp(6), _mlp(5)])
    assert [g.rows.tolist() for g in people.groups] == [[0, 2], [1]]
    taken = people.take([2, 1])
    assert sorted((g.rows.tolist(), g.graph.nodes[1].size) for g in taken.groups) == [([0], 5), ([1], 6)]
    assert people.gather(
        torch.full((len(g), 1), float(i)).numpy() for i, g in enumerate(people.groups)
    ).ravel().tolist() == [0, 1, 0]


def test_activation_of_a_module_is_found():
    assert source_of(_mlp(5)).known.activation == "relu"
    assert source_of(_mlp(5).state_dict()).known.activation == ""


def test_bundle_brings_its_config():
    bundle = WeightBundle(
        dict(_mlp(5).state_dict()), {"model": {"kind": "mlp", "sizes": [4, 5, 3], "activation": "tanh"}}
    )
    known = source_of(bundle).known
    assert known.activation == "tanh" and known.skeleton is not None
    assert known_of({"format": "x"}).skeleton is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (3, "int is not a model"),
        ({}, "no tensor"),
        ({"a.weight": torch.tensor([[float("nan"), 1.0]])}, "NaN or infinite numbers \\(1 of them\\)"),
        ({"a.weight": torch.tensor([[float("inf"), 1.0]])}, "NaN or infinite"),
        ({"a.weight": torch.zeros(0, 4)}, "a side of length zero"),
        ({"a.bias": torch.zeros(4)}, "no weight matrix"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(model, words):
    with pytest.raises(UsageError, match=words):
        stack_models([model])


def test_nothing_to_read():
    with pytest.raises(UsageError, match="no model"):
        stack_models([])


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
    table = tabulate_features(stack_models(models), spectra.extract_spectra)
    assert np.isnan(table.select(["layer2/log_norm"])).ravel().tolist() == [True, False]
    assert not np.isnan(table.select(["layer-1/log_norm"])).any()


def test_constant_and_repeated_columns_are_dropped():
    values = np.array([[1.0, 2, 2, 5], [1, 3, 3, 6]])
    assert find_useful(FeatureTable(("a", "b", "c", "d"), values), np.arange(2)) == ("b", "d")
