import numpy as np
import pytest
import read_networks
import torch

from digsite.read.core.edges import shape_of
from digsite.read.core.population import stack_models, tabulate_features
from digsite.read.core.readers import nwpa, statistics
from digsite.read.core.tasks import TASKS
from digsite.read.judge.invariance import check_invariance


class Untrained:
    """A graph network of random weights, shaped for one model: what holds for it holds by construction."""

    tasks = (TASKS["test_accuracy"],)

    def __init__(self, model):
        shape = shape_of(stack_models([model]))
        net = nwpa.build_net(
            shape, self.tasks, nwpa.GraphOptions(num_layers=2, width=16, use_attention=True)
        ).eval()
        self.branch = nwpa.Branch("function", net, {"test_accuracy": 0.0}, {"test_accuracy": 1.0}, shape, [])

    def answers(self, people):
        return nwpa.predict_branch(self.branch, people)[0]


class Summing:
    """A reader that must fail: it weighs neurons by their place."""

    tasks = (TASKS["test_accuracy"],)

    def answers(self, people):
        weight = next(iter(people.groups[0].tensors.values()))[0]
        return {"test_accuracy": np.array([float((weight.flatten() * torch.arange(weight.numel())).sum())])}


class Statistics:
    tasks = (TASKS["test_accuracy"],)

    def answers(self, people):
        return {"test_accuracy": tabulate_features(people, statistics.extract_statistics).values[:, 1]}


@pytest.mark.parametrize("name", read_networks.ALL)
def test_graph_network_is_invariant_on_every_layer_kind(name):
    torch.manual_seed(0)
    model = read_networks.make(name)
    table = check_invariance(Untrained(model), model)
    held = table[table["applies"]]
    assert "permutation" in set(held["symmetry"])
    assert not (held["verdict"] == "answers moved").any(), held.to_string()


def test_bench_catches_a_reader_that_looks_at_places():
    table = check_invariance(Summing(), read_networks.make("relu mlp")).set_index("symmetry")
    assert table.loc["permutation", "verdict"] == "answers moved"


def test_statistics_are_fooled_by_rescaling_alone():
    table = check_invariance(Statistics(), read_networks.make("relu mlp")).set_index("symmetry")
    assert table.loc["permutation", "verdict"] == "holds"
    assert table.loc["scale", "verdict"] == "answers moved"
