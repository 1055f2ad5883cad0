import numpy as np
import pytest
import read_networks
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kurtosis

from digsite.base.errors import UsageError
from digsite.models import build, parse
from digsite.read.core.edges import (
    NAMES,
    batch_of,
    block_key,
    compile_population,
    edge_functions,
    key_topology,
    node_features,
    shape_of,
)
from digsite.read.core.graph import to_canonical_form, weigh_graph
from digsite.read.core.population import stack_models
from digsite.read.core.readers import nwpa
from digsite.read.core.tasks import TASKS


def test_one_tap_gives_the_weight_itself_first():
    weight = torch.randn(2, 1, 3, 4)
    found = edge_functions(weight, False)
    assert torch.equal(found[:, :, 0], weight[:, 0]) and torch.equal(found[:, :, 1], weight[:, 0].abs())


def test_order_of_shared_taps_does_not_matter():
    weight = torch.randn(1, 4, 3, 3)
    assert torch.allclose(
        edge_functions(weight, True), edge_functions(weight[:, [2, 0, 3, 1]], True), atol=1e-6
    )


def test_order_of_kernel_taps_matters():
    weight = torch.randn(1, 9, 3, 3)
    assert not torch.allclose(edge_functions(weight, False), edge_functions(weight.flip(1), False), atol=1e-3)


def test_padding_and_missing_skips_change_no_answer():
    """Wide, narrow, with and without a skip: alone or in one batch, every network gets the same answer."""
    base = {"kind": "wild_cnn", "activations": ["relu"] * 3}
    models = [
        build(parse({**base, "channels": c, "skips": s}), i)
        for i, (c, s) in enumerate(
            [([4, 8, 4], [None, 0, None]), ([6, 4, 10], [None] * 3), ([5, 5, 5], [None, None, 0])]
        )
    ]
    people = stack_models(models)
    members = compile_population(people, True)
    assert len({key_topology(m.graph) for m in members}) == 1
    torch.manual_seed(0)
    net = nwpa.build_net(shape_of(people), (TASKS["test_accuracy"],), nwpa.GraphOptions(num_layers=2)).eval()
    together = net(batch_of(members))["test_accuracy"]
    alone = torch.cat([net(batch_of([m]))["test_accuracy"] for m in members])
    assert torch.allclose(together, alone, atol=1e-5)


def test_recipe_reader_is_not_told_the_activation():
    people = stack_models([read_networks.make("relu mlp")])
    assert {n.activation for n in compile_population(people, False)[0].graph.nodes} == {""}
    assert "relu" in {n.activation for n in compile_population(people, True)[0].graph.nodes}


def test_keys_tell_first_inner_and_last():
    graph = stack_models([read_networks.make("relu mlp")]).groups[0].graph
    assert [block_key(graph, i) for i in range(3)] == ["linear:first", "linear:inner", "linear:last"]


@pytest.mark.parametrize("name", read_networks.ALL)
def test_counts_the_functions_that_edges_have(name):
    people = stack_models([read_networks.make(name)])
    shape, member = shape_of(people), compile_population(people, True)[0]
    assert sorted(set(shape.keys.values())) == sorted({e.shape[1] for e in member.edges})


def test_strangers_are_named():
    mlp, cnn = (shape_of(stack_models([read_networks.make(n)])) for n in ("relu mlp", "small cnn"))
    mlp.refuse_strangers(mlp)
    with pytest.raises(UsageError, match="'conv:first'"):
        mlp.refuse_strangers(cnn)


def _found(model, in_canonical_form=True):
    group = stack_models([model]).groups[0]
    parts = weigh_graph(group.graph, {k: t.double() for k, t in group.tensors.items()})
    return node_features(group.graph, to_canonical_form(group.graph, parts) if in_canonical_form else parts)


def _column(found, name):
    return found[0, :, NAMES.index(name)].numpy()


def _moved(name, order=None, factor=None):
    """The network with its first hidden neurons permuted, or rescaled from their inputs to their outputs."""
    model = read_networks.make(name)
    first, second = model.layers[0], model.layers[1]
    with torch.no_grad():
        if order is not None:
            first.weight.copy_(first.weight[order])
            first.bias.copy_(first.bias[order])
            second.weight.copy_(second.weight[:, order])
        if factor is not None:
            first.weight.mul_(factor[:, None])
            first.bias.mul_(factor)
            second.weight.div_(factor)
    return model


@given(st.permutations(range(12)), st.sampled_from(["relu mlp", "tanh mlp", "gelu mlp"]))
def test_permuting_neurons_permutes_their_descriptions(order, name):
    plain, moved = _found(read_networks.make(name)), _found(_moved(name, order=list(order)))
    assert torch.allclose(plain[1][:, list(order)], moved[1])
    assert all(torch.allclose(a, b) for i, (a, b) in enumerate(zip(plain, moved)) if i != 1)


@given(st.lists(st.floats(0.01, 100), min_size=12, max_size=12))
def test_free_scales_do_not_show(factors):
    plain, moved = (
        _found(read_networks.make("relu mlp")),
        _found(_moved("relu mlp", factor=torch.tensor(factors))),
    )
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(plain, moved))


@given(st.lists(st.sampled_from([-1.0, 1.0]), min_size=12, max_size=12))
def test_free_signs_do_not_show(signs):
    plain, moved = (
        _found(read_networks.make("tanh mlp")),
        _found(_moved("tanh mlp", factor=torch.tensor(signs))),
    )
    assert all(torch.allclose(a, b) for a, b in zip(plain, moved))


def test_a_side_is_what_numpy_and_scipy_say():
    model = read_networks.make("gelu mlp")
    found = _found(model)[1]
    into = model.layers[0].weight.detach().double().numpy()
    out = model.layers[1].weight.detach().double().numpy().T
    for side, weights in (("in", into), ("out", out)):
        norms = np.log(np.linalg.norm(weights, axis=1))
        assert np.allclose(_column(found, f"{side}_norm"), norms)
        assert np.allclose(_column(found, f"{side}_relative_norm"), norms - norms.mean())
        about_zero = np.concatenate([weights, -weights], 1)  # centred, its fourth moment is that about zero
        assert np.allclose(_column(found, f"{side}_peak"), np.log(kurtosis(about_zero, axis=1, fisher=False)))
        assert np.allclose(_column(found, f"{side}_count"), np.log(weights.shape[1]))
        assert np.all(np.abs(_column(found, f"{side}_tilt")) <= 1)
    bias = model.layers[0].bias.detach().double().numpy()
    assert np.allclose(_column(found, "bias_absolute"), np.sign(bias) * np.log1p(np.abs(bias)))


@pytest.mark.parametrize("name", read_networks.ALL)
def test_every_layer_kind_is_described_in_finite_numbers(name):
    group = stack_models([read_networks.make(name)]).groups[0]
    found = _found(read_networks.make(name))
    assert [f.shape for f in found] == [(1, n.size, len(NAMES)) for n in group.graph.nodes]
    assert all(torch.isfinite(f).all() for f in found)


def test_nothing_enters_an_input_and_nothing_leaves_an_output():
    found = _found(read_networks.make("relu mlp"))
    assert not any(_column(found[0], n).any() for n in NAMES if n.startswith("in_"))
    assert not any(_column(found[-1], n).any() for n in NAMES if n.startswith("out_"))


def test_a_neuron_without_weights_is_described():
    model = read_networks.make("relu mlp")
    with torch.no_grad():
        model.layers[0].weight[0] = 0
        model.layers[0].bias[0] = 0
    assert all(torch.isfinite(f).all() for f in _found(model))
