import numpy as np
import pytest
import torch

from digsite.read.judge.relation import relate_networks
from digsite.read.judge.trios import (
    Edge,
    cosine_of_heads,
    cosine_of_ways,
    find_grafts,
    find_merges,
    name_repairs,
    name_series,
    turn_back,
)
from digsite.read.subjects.network import network_of


def _at(*place):
    w = torch.zeros(3, 3)
    w.flatten()[: len(place)] = torch.tensor(place)
    return network_of("n", {"w": w})


def _edge(parent, child, kind="fine-tuned", distance=1.0, taught=0.0):
    return Edge(parent, child, kind, 1e-9, 0.9, distance, 0.8, "", taught)


def test_cosines():
    assert cosine_of_ways(_at(0.0), _at(1.0), _at(2.0)) == pytest.approx(1)
    assert cosine_of_ways(_at(0.0), _at(1.0), _at(0.5)) == pytest.approx(-1)
    assert cosine_of_heads(_at(0.0), _at(1.0, 1.0), _at(1.0)) == pytest.approx(0.5**0.5)


def test_a_child_that_turns_back_goes_to_the_grandparent():
    networks = [_at(0.0, 0.0), _at(1.0, 0.0), _at(0.6, 0.7)]
    distances = [[0, 1, 1.0], [1, 0, 0.8], [1.0, 0.8, 0]]
    edges = turn_back([_edge(0, 1), _edge(1, 2, distance=0.8)], networks, distances, _edge)
    assert [(e.parent, e.child) for e in edges] == [(0, 1), (0, 2)]


def test_steps_in_one_direction_are_one_training():
    networks = [_at(0.0), _at(1.0), _at(2.0)]
    assert [e.kind for e in name_series([_edge(0, 1), _edge(1, 2, "distilled")], networks)] == [
        "continued"
    ] * 2
    turned = [_at(0.0, 0.0), _at(1.0, 0.0), _at(1.0, 1.0)]
    assert [e.kind for e in name_series([_edge(0, 1), _edge(1, 2)], turned)] == ["fine-tuned"] * 2


def test_a_pupil_of_its_sibling_was_repaired():
    networks = [_at(0.0, 0.0), _at(5.0, 0.0), _at(1.0, 0.2), _at(0.0, 1.0)]
    edges = [
        _edge(0, 1, distance=5),
        _edge(0, 2, "distilled", taught=0.6),
        _edge(0, 3, "distilled", taught=0.6),
    ]
    assert [e.kind for e in name_repairs(edges, networks)] == ["fine-tuned", "repaired", "distilled"]


def test_what_is_as_near_to_the_original_does_not_hang_from_its_copy_or_its_sibling():
    networks = [_at(0.0, 0.0), _at(0.2, 0.0), _at(0.25, 1.0)]
    distances = [[0, 0.2, 1.03], [0.2, 0, 1.0], [1.03, 1.0, 0]]
    for kind in ("permuted copy", "fine-tuned"):
        edges = turn_back([_edge(0, 1, kind, 0.2), _edge(1, 2)], networks, distances, _edge)
        assert [(e.parent, e.child) for e in edges] == [(0, 1), (0, 2)], kind


G = torch.Generator().manual_seed(0)
ROOT = {f"{i}.weight": torch.randn(14, 14, generator=G) for i in range(4)}


def _child(scale=0.2):
    return {k: t + scale * torch.randn(t.shape, generator=G) for k, t in ROOT.items()}


def _merges(states):
    networks = [network_of(str(i), s) for i, s in enumerate(states)]
    distances = np.full((len(states), len(states)), 0.3)
    np.fill_diagonal(distances, 0)
    return find_merges(networks, distances, [frozenset()] * len(states))


def test_shares_of_two_and_of_three_parents():
    a, b, c = _child(), _child(), _child()
    two = {k: 0.7 * a[k] + 0.3 * b[k] for k in a}
    three = {k: 0.5 * a[k] + 0.3 * b[k] + 0.2 * c[k] for k in a}
    found = {m.child: m for m in _merges([ROOT, a, b, c, two, three])}
    assert set(found) == {4, 5}
    assert found[4].parents == (1, 2) and found[4].weights == pytest.approx((0.7, 0.3), abs=1e-3)
    assert found[5].parents == (1, 2, 3) and found[5].weights == pytest.approx((0.5, 0.3, 0.2), abs=1e-3)


def test_siblings_are_no_average():
    assert _merges([ROOT, _child(), _child(), _child()]) == []


def test_layers_of_two_networks():
    other = {k: torch.randn(t.shape, generator=G) for k, t in ROOT.items()}
    mixed = {k: (other if k in ("2.weight", "3.weight") else ROOT)[k] for k in ROOT}
    networks = [network_of(n, s) for n, s in (("root", ROOT), ("other", other), ("mixed", mixed))]
    relations = {(i, j): relate_networks(networks[i], networks[j]) for i in range(3) for j in range(i + 1, 3)}
    (found,) = find_grafts(networks, relations, 0.05)
    assert found.child == 2 and set(found.parents) == {0, 1} and found.weights == pytest.approx((0.5, 0.5))
