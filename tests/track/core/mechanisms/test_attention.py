"""Entropy in shares of what is possible, whatever the mask, and never a softmax of probabilities."""

import math

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.track import attention_entropy, attention_specialization
from digsite.track.core.mechanisms.attention import head_distinctness


def test_uniform_is_one_and_one_key_is_zero() -> None:
    uniform = torch.full((2, 1, 5, 5), 0.2)
    pointed = torch.eye(5).expand(2, 1, 5, 5)
    both = torch.cat([uniform, pointed], 1)
    assert attention_entropy(both).tolist() == pytest.approx([1.0, 0.0])
    special = attention_specialization(both)
    assert special.index == pytest.approx(1.0)
    assert special.mean == pytest.approx(0.5)


def test_causal_uniform_is_one_too() -> None:
    causal = torch.ones(6, 6).tril() / torch.arange(1, 7)[:, None]
    assert attention_entropy(causal.expand(3, 2, 6, 6)).tolist() == pytest.approx([1.0, 1.0])


def test_against_the_definition() -> None:
    p = torch.softmax(torch.randn(2, 3, 4, 4), -1)
    truth = -(p * p.log()).sum(-1).mean((0, 2)) / math.log(4)
    assert torch.allclose(attention_entropy(p), truth, atol=1e-6)


def test_distinctness_of_equal_and_of_separate_heads() -> None:
    same = torch.full((1, 4, 8, 8), 1 / 8)
    apart = torch.zeros(1, 4, 8, 8)
    for head in range(4):
        apart[:, head, :, head] = 1
    assert head_distinctness(same) == pytest.approx(0)
    assert head_distinctness(apart) == pytest.approx(1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.randn(1, 1, 3, 3), "not attention probabilities"),
        (torch.ones(3, 3), "shape"),
        (torch.ones(1, 1, 1, 1), "more than one key"),
    ],
)
def test_bad_patterns(bad: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        attention_entropy(bad)
