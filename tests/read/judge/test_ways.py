import pytest
import torch

from digsite.read.judge.ways import (
    Edge,
    cosine_of_heads,
    cosine_of_ways,
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
