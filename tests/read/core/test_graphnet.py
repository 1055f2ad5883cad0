from dataclasses import replace

import numpy as np
import pytest
import read_networks
import torch

from digsite.base.errors import UsageError
from digsite.read.core.agreement import learn_agreements
from digsite.read.core.edges import NAMES, batch_of, compile_population, shape_of
from digsite.read.core.graphnet import GraphSweep, LinearPath, _describe_depth, _send_along, safe_key
from digsite.read.core.population import stack_models
from digsite.read.core.readers import nwpa
from digsite.read.core.tasks import TASKS

CLASS = replace(TASKS["missing_class"], classes=("0", "1", "2", "3", "none"))


def _net(name, **options):
    torch.manual_seed(0)
    people = stack_models([read_networks.make(name)])
    tasks = (TASKS["test_accuracy"], CLASS)
    return nwpa.build_net(shape_of(people), tasks, nwpa.GraphOptions(**options)).eval()


def test_states_are_equivariant():
    """Permuting hidden neurons permutes their states and nothing else."""
    model = read_networks.make("gelu mlp")
    order = torch.randperm(12)
    other = read_networks.make("gelu mlp")
    with torch.no_grad():
        other.layers[0].weight.copy_(model.layers[0].weight[order])
        other.layers[0].bias.copy_(model.layers[0].bias[order])
        other.layers[1].weight.copy_(model.layers[1].weight[:, order])
    a, b = (compile_population(stack_models([m]), True) for m in (model, other))
    net = _net("gelu mlp", num_layers=2, use_attention=True)
    x, y = net.states(batch_of(a)), net.states(batch_of(b))
    assert torch.allclose(x[1][:, order], y[1], atol=1e-5)
    assert torch.allclose(x[2], y[2], atol=1e-5)


def test_answers_per_output_follow_the_outputs():
    members = compile_population(stack_models([read_networks.make("gelu mlp")]), True)
    net = _net("gelu mlp")
    answer = net(batch_of(members))["missing_class"]
    assert answer.shape == (1, 5)


def test_attention_shares_add_to_one():
    members = compile_population(stack_models([read_networks.make("small cnn")]), True)
    net, batch = _net("small cnn"), batch_of(members)
    for state, mask in zip(net.states(batch), batch.masks):
        assert torch.allclose(net.attention(state, mask).sum(1), torch.ones(1))


def test_unknown_input_size_is_a_sentence():
    net = _net("gelu mlp")
    wide = torch.nn.Sequential(torch.nn.Linear(20, 12), torch.nn.GELU(), torch.nn.Linear(12, 4))
    with pytest.raises(UsageError, match="20 inputs"):
        net(batch_of(compile_population(stack_models([wide]), True)))


def test_edge_dropout_only_in_training():
    members = compile_population(stack_models([read_networks.make("gelu mlp")]), True)
    net, batch = _net("gelu mlp", edge_dropout=0.5, dropout=0.0), batch_of(members)
    assert torch.equal(net(batch)["test_accuracy"], net(batch)["test_accuracy"])
    net.train()
    assert not torch.equal(net(batch)["test_accuracy"], net(batch)["test_accuracy"])


@pytest.mark.parametrize("backward", [False, True])
def test_joined_blocks_say_what_they_say_one_by_one(backward):
    members = compile_population(stack_models([read_networks.make("wild cnn")]), True)
    net, batch = _net("wild cnn"), batch_of(members)
    sweep, skips = net.forward_sweeps[0], [i for i, b in enumerate(batch.graph.blocks) if b.kind == "skip"]
    states = [torch.randn(1, n.size, 32) for n in batch.graph.nodes]
    ends = [batch.graph.blocks[i].target if backward else batch.graph.blocks[i].source for i in skips]
    heard, masks = [states[e] for e in ends], [batch.masks[e] for e in ends]
    n = 4  # neurons at the other end, as if all led to the same set
    edges = [batch.edges[i][..., :n] if backward else batch.edges[i][:, :n] for i in skips]
    joined = _send_along(sweep, "skip:inner", edges, heard, masks, backward)
    single = [
        _send_along(sweep, "skip:inner", [e], [h], [m], backward) for e, h, m in zip(edges, heard, masks)
    ]
    assert len(skips) == 2 and torch.allclose(joined, sum(single), atol=1e-5)


def test_both_ways_every_function_is_mixed_by_the_same_matrix():
    sweep = GraphSweep({"linear:inner": 3}, 8, 0.0).double()
    edges = torch.randn(2, 5, 3, 7, dtype=torch.float64)
    mix = sweep.mix["linear_inner"].weight.reshape(8, 3, 8)
    above, below = (torch.randn(2, n, 8, dtype=torch.float64) for n in (7, 5))
    ahead = torch.einsum("btfs,bsd,efd->bte", edges, above, mix) / 2
    back = torch.einsum("btfs,btd,efd->bse", edges, below, mix) / 2
    torch.testing.assert_close(sweep.gathered("linear:inner", edges, above, 0.5), ahead)
    torch.testing.assert_close(sweep.sent_back("linear:inner", edges, below, 0.5), back)


def test_facts_name_the_activations_and_the_depth():
    (member,) = compile_population(stack_models([read_networks.make("wild cnn")]), True)
    (facts,) = _describe_depth(batch_of([member]))
    assert facts[1] == pytest.approx(2 / 3) and facts[2] == pytest.approx(1 / 3)  # two layers relu, one tanh
    assert facts[-1] == pytest.approx(np.log(3)) and facts[:-1].sum() == pytest.approx(1)


def test_usual_numbers_are_centred_and_constants_kept():
    net = _net("gelu mlp")
    nodes = torch.cat([torch.randn(50, len(NAMES) - 1) * 3 + 2, torch.full((50, 1), 7.0)], 1)
    net.get_used_to([nodes])
    middle, spread = net.usual
    assert torch.allclose(middle, nodes.mean(0), atol=1e-5)
    assert torch.allclose(spread[:-1], nodes[:, :-1].std(0, correction=0), atol=1e-5) and spread[-1] == 1


def test_starts_at_what_the_zoo_agrees_on():
    people = stack_models([read_networks.make("gelu mlp") for _ in range(3)])
    agreements = learn_agreements(people, torch.ones(3))
    path = LinearPath({"input:16": 16, "output:4": 4}, 6)
    path.start_from(agreements)
    assert torch.allclose(path.patterns["input_16"], agreements["16x4"].map_basis[:, :6].float())
    features = path(batch_of(compile_population(people, True)))
    assert features.shape == (3, path.n_features)
    assert torch.allclose(features[0], features[1])


def test_unknown_sizes_give_zeros():
    path = LinearPath({"input:9": 9, "output:4": 4}, 3)
    batch = batch_of(compile_population(stack_models([read_networks.make("gelu mlp")]), True))
    assert (path(batch) == 0).all()


def test_names_are_safe():
    assert safe_key("input:16.x") == "input_16_x"
