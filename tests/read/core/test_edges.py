import read_networks
import torch

from digsite.models import build, parse
from digsite.read.core.edges import batch_of, block_key, compile_population, edge_functions, topology
from digsite.read.core.population import population
from digsite.read.core.readers import nwpa
from digsite.read.core.shape import shape_of
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
    people = population(models)
    members = compile_population(people, True)
    assert len({topology(m.graph) for m in members}) == 1
    torch.manual_seed(0)
    net = nwpa.build(shape_of(people), (TASKS["test_accuracy"],), nwpa.Options(num_layers=2)).eval()
    together = net(batch_of(members))["test_accuracy"]
    alone = torch.cat([net(batch_of([m]))["test_accuracy"] for m in members])
    assert torch.allclose(together, alone, atol=1e-5)


def test_recipe_reader_is_not_told_the_activation():
    people = population([read_networks.make("relu mlp")])
    assert {n.activation for n in compile_population(people, False)[0].graph.nodes} == {""}
    assert "relu" in {n.activation for n in compile_population(people, True)[0].graph.nodes}


def test_keys_tell_first_inner_and_last():
    graph = population([read_networks.make("relu mlp")]).groups[0].graph
    assert [block_key(graph, i) for i in range(3)] == ["linear:first", "linear:inner", "linear:last"]
