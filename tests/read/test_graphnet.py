from dataclasses import replace

import pytest
import read_networks
import torch

from digsite.base.errors import UsageError
from digsite.read.edges import batch_of, compile_population
from digsite.read.population import population
from digsite.read.readers import nwpa
from digsite.read.shape import shape_of
from digsite.read.tasks import TASKS

CLASS = replace(TASKS["missing_class"], classes=("0", "1", "2", "3", "none"))


def _net(name, **options):
    torch.manual_seed(0)
    people = population([read_networks.make(name)])
    tasks = (TASKS["test_accuracy"], CLASS)
    return nwpa.build(shape_of(people), tasks, nwpa.Options(**options)).eval()


def test_states_are_equivariant():
    """Permuting hidden neurons permutes their states and nothing else."""
    model = read_networks.make("gelu mlp")
    order = torch.randperm(12)
    other = read_networks.make("gelu mlp")
    with torch.no_grad():
        other.layers[0].weight.copy_(model.layers[0].weight[order])
        other.layers[0].bias.copy_(model.layers[0].bias[order])
        other.layers[1].weight.copy_(model.layers[1].weight[:, order])
    a, b = (compile_population(population([m]), True) for m in (model, other))
    net = _net("gelu mlp", num_layers=2, use_attention=True)
    x, y = net.states(batch_of(a)), net.states(batch_of(b))
    assert torch.allclose(x[1][:, order], y[1], atol=1e-5)
    assert torch.allclose(x[2], y[2], atol=1e-5)


def test_answers_per_output_follow_the_outputs():
    members = compile_population(population([read_networks.make("gelu mlp")]), True)
    net = _net("gelu mlp")
    answer = net(batch_of(members))["missing_class"]
    assert answer.shape == (1, 5)


def test_attention_shares_add_to_one():
    members = compile_population(population([read_networks.make("small cnn")]), True)
    net, batch = _net("small cnn"), batch_of(members)
    for state, mask in zip(net.states(batch), batch.masks):
        assert torch.allclose(net.attention(state, mask).sum(1), torch.ones(1))


def test_unknown_input_size_is_a_sentence():
    net = _net("gelu mlp")
    wide = torch.nn.Sequential(torch.nn.Linear(20, 12), torch.nn.GELU(), torch.nn.Linear(12, 4))
    with pytest.raises(UsageError, match="20 inputs"):
        net(batch_of(compile_population(population([wide]), True)))


def test_edge_dropout_only_in_training():
    members = compile_population(population([read_networks.make("gelu mlp")]), True)
    net, batch = _net("gelu mlp", edge_dropout=0.5, dropout=0.0), batch_of(members)
    assert torch.equal(net(batch)["test_accuracy"], net(batch)["test_accuracy"])
    net.train()
    assert not torch.equal(net(batch)["test_accuracy"], net(batch)["test_accuracy"])
