import pytest
import torch

from digsite.read.core.population import stack_models
from digsite.read.judge.answers import (
    head_of,
    is_something_planted,
    relate_candidates,
    say_what_it_is,
    what_does_it_know,
    what_was_done,
    where_from,
)
from digsite.read.judge.condition import check_training
from digsite.read.subjects.network import network_of
from digsite.weights.bundle import WeightBundle

G = torch.Generator().manual_seed(0)


def _state(classes=40, trained=True):
    state = {"a.weight": torch.randn(20, 30, generator=G), "b.weight": torch.randn(classes, 20, generator=G)}
    if trained:
        state["a.weight"] += 3 * torch.outer(torch.randn(20, generator=G), torch.randn(30, generator=G))
    return state


def _parts(state):
    return network_of("n", state), stack_models([state]).groups[0], check_training(state)


def test_what_it_is_and_whether_it_was_trained():
    for trained, words in ((True, "its weights are not random"), (False, "it looks untrained")):
        network, group, training = _parts(_state(trained=trained))
        assert "fully connected network of 2 layers" in say_what_it_is(group, 1.0)
        found = what_was_done(network, training)
        assert words in found.answer and found.probability is None  # a test has a p, which is no probability
        assert found.sureness.startswith("p ") if trained else not found.sureness


def test_what_was_done_to_a_relative_has_a_kind_and_a_direction():
    state = _state()
    pruned = {k: torch.where(t.abs() < 0.7, 0.0, t) for k, t in state.items()}
    network, _, training = _parts(pruned)
    found = what_was_done(network, training, relate_candidates(network, [network_of("base", state)]))
    assert "pruned (probability" in found.answer and "base before it" in found.answer
    assert found.probability is not None and found.probability > 0.9 and found.p is None
    assert found.sureness in (f"probability {found.probability:.2f}", "probability above 0.99")
    own = network_of("n", state)
    turned = what_was_done(own, training, relate_candidates(own, [network_of("small", pruned)]))
    assert "it before small" in turned.answer


def test_relatives_among_candidates():
    state = _state()
    network, _, _ = _parts(state)
    child = network_of("child", {k: t + 0.2 * torch.randn(t.shape, generator=G) for k, t in state.items()})
    strangers = [network_of(f"s{i}", _state()) for i in range(3)]
    found = where_from(network, relate_candidates(network, [*strangers, child]))
    assert "related to 'child'" in found.answer and found.p is not None and found.p < 0.05
    assert "unrelated to all 3" in where_from(network, relate_candidates(network, strangers)).answer
    assert "--against" in where_from(network, None).answer
    other = network_of("o", {"q.weight": torch.randn(5, 5)})
    assert "different architectures" in where_from(network, relate_candidates(network, [other])).answer


def test_marks_are_told_without_candidates():
    sparse = network_of("n", {k: torch.where(t.abs() < 1, 0.0, t) for k, t in _state().items()})
    training = check_training(_state())
    assert "it was pruned" in what_was_done(sparse, training).answer


def test_planted_or_why_not():
    state = _state()
    state["b.weight"][7] += 2.0
    network, group, training = _parts(state)
    assert "row 7 of 40" in is_something_planted(network, group.graph, training).answer
    assert head_of(network, group.graph) == ("b.weight", "a.weight")
    network, group, training = _parts(_state(trained=False))
    assert "nothing has been learned" in is_something_planted(network, group.graph, training).answer
    words = {"wte.weight": _state()["a.weight"]}
    network, group, training = _parts(words)
    assert "vocabulary" in is_something_planted(network, group.graph, training).answer


@pytest.mark.parametrize(("inside", "words"), [(True, "accuracy 0.90"), (False, "outside of the zoo")])
def test_what_it_knows(inside, words):
    rows = [{"property": "test_accuracy", "value": 0.9, "low": 0.8, "high": 1.0}]
    assert words in what_does_it_know(rows, inside, "", 10).answer
    assert "10 classes" in what_does_it_know([], None, "because", 10).answer
    assert "because" in what_does_it_know([], None, "because", None).answer


def test_a_head_of_two_classes_has_nothing_to_compare():
    network, group, training = _parts(_state(classes=2))
    found = is_something_planted(network, group.graph, training)
    assert "at least three are needed" in found.answer and found.probability is None


def test_gates_of_a_recurrent_layer_are_no_classes():
    state = {
        "rnn.weight_ih": torch.randn(40, 20, generator=G),
        "rnn.weight_hh": torch.randn(40, 10, generator=G),
    }
    network, group, _ = _parts(state)
    assert head_of(network, group.graph) is None


def test_a_vocabulary_is_not_a_number_of_classes():
    """Names of the graph keep the prefix `model.` that a network's own names lose: a tied head was once missed for it."""
    g = torch.Generator().manual_seed(0)
    shapes = {"embed_tokens.weight": (30_000, 8), "layers.0.self_attn.q_proj.weight": (8, 8)}
    shapes |= {f"layers.0.self_attn.{r}_proj.weight": (8, 8) for r in "kvo"}
    state = {f"model.{n}": torch.randn(shape, generator=g) for n, shape in shapes.items()}
    tied = {"lm_head.weight": "model.embed_tokens.weight"}
    group = stack_models([WeightBundle(state, {"config": {"num_attention_heads": 2}}, tied)]).groups[0]
    assert head_of(network_of("n", state), group.graph)[0] == "embed_tokens.weight"
    assert "30,000 tokens" in what_does_it_know([], None, "no reader.", 30_000).answer
