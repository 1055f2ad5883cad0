"""Selectivity beside shuffles: nothing in noise, all in a perfect unit, whatever the scale."""

import math

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.track import activation_selectivity

LABELS = torch.arange(400) % 4


def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_perfect_unit_knows_the_class() -> None:
    found = activation_selectivity(torch.nn.functional.one_hot(LABELS).float()[:, :1] * 3, LABELS, draw())
    assert found.index == pytest.approx(1)
    truth = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert found.information == pytest.approx(truth, rel=1e-3)
    assert found.information_null < 0.03
    assert found.p < 0.05


def test_noise_stays_at_its_null() -> None:
    found = activation_selectivity(torch.randn(400, 30, generator=draw()), LABELS, draw())
    assert found.information == pytest.approx(found.information_null, rel=0.25)
    assert found.index == pytest.approx(found.index_null, rel=0.25)


def test_free_of_scale() -> None:
    x = torch.rand(400, 5, generator=draw()) + LABELS[:, None] * 0.3
    small, large = (activation_selectivity(k * x, LABELS, draw()) for k in (1.0, 50.0))
    assert small.index == pytest.approx(large.index)
    assert small.information == pytest.approx(large.information)


def test_bad_labels() -> None:
    with pytest.raises(UsageError, match="3 labels"):
        activation_selectivity(torch.ones(4, 2), LABELS[:3], draw())
    with pytest.raises(UsageError, match="two classes"):
        activation_selectivity(torch.ones(4, 2), torch.zeros(4, dtype=torch.long), draw())
