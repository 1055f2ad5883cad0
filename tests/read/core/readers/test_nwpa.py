from dataclasses import replace

import numpy as np
import torch

from digsite.read.core.corpus import find_tasks
from digsite.read.core.edges import compile_population
from digsite.read.core.graph import NodeSet
from digsite.read.core.readers import nwpa

OPTIONS = nwpa.GraphOptions(epochs=3, width=16, hidden_dim=16, batch_size=16)


def _fit(train, seed=0):
    return nwpa.fit_branch(
        train, find_tasks(train.labels, ["test_accuracy", "missing_class"]), seed, OPTIONS, "function"
    )


def test_training_lowers_the_loss_and_repeats_exactly(sides):
    a, b = _fit(sides[0]), _fit(sides[0])
    assert a.curve[-1]["loss"] < a.curve[0]["loss"]
    x, y = (nwpa.predict_branch(m, sides[1].population)[0]["test_accuracy"] for m in (a, b))
    assert np.array_equal(x, y)


def test_the_held_out_loss_is_followed_and_changes_nothing(sides):
    """Watching networks that nothing is learned from leaves every weight as it is."""
    tasks = find_tasks(sides[0].labels, ["test_accuracy", "missing_class"])
    watched = nwpa.fit_branch(sides[0], tasks, 0, OPTIONS, "function", held_out=sides[1])
    plain = _fit(sides[0])
    assert all(np.isfinite(point["validation_loss"]) for point in watched.curve)
    assert [p["loss"] for p in watched.curve] == [p["loss"] for p in plain.curve]
    assert watched.center == plain.center and watched.spread == plain.spread
    ours, theirs = watched.net.state_dict(), plain.net.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_neurons_have_names():
    given, hidden, answered = (NodeSet(kind, 64, kind) for kind in ("input", "hidden", "output"))
    assert nwpa.name_neurons(given, 64)[10] == "r1 c2"
    assert nwpa.name_neurons(given, 50)[10] == "#10"
    assert nwpa.name_neurons(answered, 10)[3] == "class 3" and nwpa.name_neurons(hidden, 9)[8] == "#8"


def test_global_generator_is_left_alone(sides):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _fit(sides[0])
    assert torch.equal(torch.rand(3), expected)


def test_every_member_is_in_one_batch(sides):
    pools = nwpa.TopologyPools(compile_population(sides[0].population, True))
    rows = torch.cat([r for r, _ in pools.batches(16, np.random.default_rng(0))])
    assert sorted(rows.tolist()) == list(range(len(sides[0])))


def test_task_weights_are_learned(sides):
    assert any(float(s.detach()) != 0 for s in _fit(sides[0]).net.log_spread.values())


def test_unknown_labels_are_passed_over(sides):
    train = sides[0]
    labels = train.labels.copy()
    labels.loc[::2, "test_accuracy"] = np.nan
    branch = _fit(type(train)(train.population, labels))
    assert np.isfinite(branch.curve[-1]["loss"])


def test_attention_of_one_network(sides):
    layers = nwpa.read_attention(_fit(sides[0]), sides[1].population)
    assert [len(layer["share"]) for layer in layers] == [64, 32, 16, 10]
    assert all(np.isclose(sum(layer["share"]), 1) for layer in layers)


def test_a_network_that_exploded_does_not_spoil_the_others(sides):
    people = sides[0].population
    group = people.groups[0]
    name = next(n for n, v in group.tensors.items() if v.ndim > 2)
    tensors = {n: v.clone() for n, v in group.tensors.items()}
    for value in tensors.values():
        value[0] *= 1e18
    train = replace(
        sides[0], population=replace(people, groups=[replace(group, tensors=tensors), *people.groups[1:]])
    )
    assert train.population.groups[0].tensors[name][0].abs().max() > 1e15
    branch = _fit(train)
    assert np.isfinite(branch.curve[-1]["loss"])
    assert np.isfinite(nwpa.predict_branch(branch, sides[1].population)[0]["test_accuracy"]).all()
