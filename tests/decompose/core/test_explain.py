import pytest
import torch

from digsite.base.errors import UsageError
from digsite.decompose.core.explain import (
    attribute_components,
    cut_context,
    describe_uses,
    look_past_first,
    pick_places,
    rank_tokens,
    share_first,
)
from digsite.decompose.judge.exam import entry_from_parts
from digsite.decompose.subjects.compiled import CompiledProgram


def test_a_component_is_explained_by_its_inputs_and_outputs(exact, batch):
    found = exact.explain("0", 1, batch, n_top=5)
    assert all({2, 3} & set(inputs) for inputs in found.top_inputs)
    assert found.moved[0][0] == 1
    assert found.moved[0][1] > 0
    assert found.neuron == (1, pytest.approx(1.0))
    assert abs(found.singular[1]) == pytest.approx(1.0)
    assert 0.1 < found.share < 0.3


def test_tokens_are_ranked_by_the_importance_they_hold():
    ids = torch.tensor([[5, 7, 5, 9], [5, 7, 7, 9]])
    g = torch.tensor([[0.9, 0.0, 0.8, 0.0], [0.0, 0.3, 0.0, 0.05]])
    assert rank_tokens(ids, g, 3) == [(5, 2, pytest.approx(2 / 3)), (7, 1, pytest.approx(1 / 3))]


def test_a_context_has_its_place_and_ends_with_the_text():
    ids, g = torch.arange(20), torch.linspace(0, 1, 20)
    found = cut_context(ids, g, 3)
    assert found.tokens == list(range(12)) and found.tokens[found.at] == 3
    assert cut_context(ids, g, 19).at == 8


def test_a_text_that_was_drawn_twice_is_shown_once():
    ids = torch.tensor([[1, 2], [3, 4], [1, 2], [5, 6]])
    g = torch.tensor([[0.0, 0.9], [0.5, 0.2], [0.0, 0.9], [0.0, 0.0]])
    assert pick_places(ids, g, 3) == [(0, 1), (1, 0)]


def test_first_positions_are_passed_over_unless_they_are_what_it_is_about():
    mostly = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.2, 0.0]])
    assert share_first(mostly) == pytest.approx(2 / 3) and torch.equal(look_past_first(mostly), mostly)
    rarely = torch.tensor([[1.0, 0.0, 0.9], [0.0, 0.8, 0.7]])
    assert share_first(rarely) == 0.25
    assert pick_places(torch.arange(6).reshape(2, 3), look_past_first(rarely), 2) == [(0, 2), (1, 1)]
    assert share_first(torch.zeros(2, 3)) == 0


class Bigram(torch.nn.Module):
    """Token k is followed by token k + 1: one part for each token says so."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding.from_pretrained(torch.eye(4))
        self.next = torch.nn.Linear(4, 4, bias=False)
        self.next.weight.data = 3 * torch.eye(4).roll(1, 0)

    def forward(self, ids):
        return self.next(self.embed(ids))


def test_a_part_is_described_by_where_it_is_used_and_what_it_promotes():
    model = Bigram().requires_grad_(False)
    program = CompiledProgram("bigram", model, {}, torch.eye(4), (torch.randint(4, (8, 6)),), True)
    parts = {"next": (torch.eye(4), model.next.weight.T.contiguous())}
    found = entry_from_parts(program, parts).decomposition
    ids = torch.tensor([[0, 2, 1, 3], [3, 3, 0, 0], [1, 1, 1, 1]])
    importance = torch.nn.functional.one_hot(ids, 4).float().flatten(0, 1)
    use = describe_uses(found, [ids[:2], ids[2:]], {"next": importance}, {"next": [2, 0, 1]})["next"][2]
    assert torch.equal(importance[:, 2].reshape(ids.shape), (ids == 2).float())
    assert [t for t, _, _ in use.tokens] == [2] and use.share == pytest.approx(1 / 12)
    assert use.first == 0
    (context,) = use.contexts  # one text uses it
    assert context.tokens[context.at] == 2
    assert use.promoted[0][0] == 3 and use.promoted[0][1] > 0.5 > 0 > use.suppressed[0][1]
    # three logits on one of four tokens, against the mean of all
    assert use.promoted[0][1] == pytest.approx(3 - 3 / 4, abs=1e-4)
    assert sum(use.histogram) == 12 and use.histogram[0] == 11


def test_each_neuron_feeds_its_own_output(exact, batch):
    found = attribute_components(exact, "0", "2", batch)
    assert (found.sources, found.destinations) == ([0, 1, 2, 3], [0, 1, 2, 3])
    own = found.strength.diagonal()
    assert (own > 0.01).all()
    torch.testing.assert_close(found.strength, torch.diag(own))


def test_nothing_flows_backward(exact, batch):
    with pytest.raises(UsageError, match="earlier module first"):
        attribute_components(exact, "2", "0", batch)
