import numpy as np
import pytest
import read_networks
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.read.core.parts import canonical, free_sets, parts_of
from digsite.read.core.population import population
from digsite.read.core.symmetries import SYMMETRIES, changed


def _forward(parts, graph, x):
    """A chain of linear blocks with its activations, by hand."""
    act = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu, "": lambda v: v}
    for block, weight in zip(graph.blocks, parts.weights):
        x = act[graph.nodes[block.target].activation](x @ weight[0, 0].T + parts.bias[block.target][0])
    return x


@pytest.mark.parametrize("name", ["relu mlp", "tanh mlp", "gelu mlp"])
def test_canonical_form_is_the_same_function(name):
    model = read_networks.make(name)
    group = population([model]).groups[0]
    parts = parts_of(group.graph, group.tensors)
    x = torch.randn(20, 16)
    for p in (parts, canonical(group.graph, parts)):
        assert torch.allclose(_forward(p, group.graph, x), model(x), atol=1e-5)


@given(st.integers(0, 1000), st.sampled_from(["relu mlp", "tanh mlp", "small cnn", "wild cnn"]))
def test_canonical_form_forgets_scales_and_signs(seed, name):
    group = population([read_networks.make(name)]).groups[0]
    for symmetry in ("scale", "sign"):
        tensors = SYMMETRIES[symmetry](group, np.random.default_rng(seed))
        if tensors is None:
            continue
        a, b = (
            canonical(group.graph, parts_of(group.graph, g.tensors)) for g in (group, changed(group, tensors))
        )
        assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(a.weights + a.bias, b.weights + b.bias))


def test_batch_norm_folds_into_the_convolution_before_it():
    model = read_networks.make("normed cnn")
    group = population([model]).groups[0]
    parts = parts_of(group.graph, group.tensors)
    x = torch.randn(2, 1, 5, 5)
    folded = torch.nn.functional.conv2d(
        x, parts.weights[0][0].permute(1, 2, 0).reshape(6, 1, 3, 3), parts.bias[1][0], padding=1
    )
    assert torch.allclose(folded, model.bn1(model.conv1(x)), atol=1e-5)


def test_only_free_sets_are_free():
    assert free_sets(population([read_networks.make("gelu mlp")]).groups[0].graph) == {}
    assert set(free_sets(population([read_networks.make("relu mlp")]).groups[0].graph).values()) == {"scale"}
