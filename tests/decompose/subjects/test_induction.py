"""Strings with a period, and attention that is known by construction."""

import pytest
import torch
from torch import nn

from digsite.decompose.subjects import induction
from digsite.decompose.subjects.tasks import IGNORED
from digsite.models.parts import Pattern


@pytest.fixture
def tokens():
    return induction.strings(200, 16, 20, torch.Generator().manual_seed(0))


def test_strings_repeat_with_their_own_period(tokens):
    periods = induction.periods(tokens)
    assert set(periods.tolist()) == {4, 5, 6, 7, 8}
    for row, p in zip(tokens.tolist(), periods.tolist()):
        assert len(set(row[:p])) == p
        assert all(row[i] == row[i - p] for i in range(p, 16))


def test_only_what_has_been_seen_is_asked(tokens):
    labels = induction.labels(tokens)
    for row, asked, p in zip(tokens, labels, induction.periods(tokens).tolist()):
        assert (asked[:p] == IGNORED).all() and asked[-1] == IGNORED
        assert torch.equal(asked[p:-1], row[p + 1 :])


def test_attention_of_perfect_heads_is_one(tokens):
    n, length = tokens.shape
    place = torch.arange(length)
    previous = torch.zeros(n, 1, length, length)
    previous[:, 0, place[1:], place[:-1]] = 1
    copying = torch.zeros(n, 1, length, length)
    for row, p in enumerate(induction.periods(tokens).tolist()):
        copying[row, 0, place[p:], place[p:] - p + 1] = 1
    found = induction.attention(tokens, [previous, copying])
    assert found == pytest.approx({"previous": 1.0, "induction": 1.0})
    assert induction.attention(tokens, [previous])["induction"] == 0


def test_evenly_spread_attention_is_the_null():
    tokens = torch.tensor([[7, 8, 7, 8]])
    # Asked at place 2 alone: three keys, one of them just before, one after the earlier 7.
    assert induction.chance(tokens) == pytest.approx({"previous": 1 / 3, "induction": 1 / 3})


def test_patterns_are_watched_and_left_alone():
    model = nn.Sequential()
    model.pattern = Pattern()
    with induction.watched(model) as seen:
        model.pattern(torch.ones(2))
    model.pattern(torch.ones(3))
    assert [len(x) for x in seen] == [2] and not model.pattern.is_watched()
