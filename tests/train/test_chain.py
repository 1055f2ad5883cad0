"""A module is read as known layers only when it is exactly that."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from digsite.models import build, parse
from digsite.train.chain import read_program
from digsite.train.group import replace_dropout


class Own(nn.Module):
    def __init__(self, forward) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.body = forward

    def forward(self, x):
        return self.body(self, x)


@pytest.mark.parametrize(
    ("body", "known"),
    [
        (lambda m, x: m.b(F.relu(m.a(x))), True),
        (lambda m, x: m.b(m.a(x).tanh()), True),
        (lambda m, x: m.a(x) + m.b(x), True),
        (lambda m, x: m.b(F.leaky_relu(m.a(x), 0.3)), True),
        (lambda m, x: m.a(x) * m.b(x), False),
        (lambda m, x: m.a(x) + 1, False),
        (lambda m, x: m.a(x).sin(), False),
        (lambda m, x: m.b(m.a(x)) if x.sum() > 0 else m.a(x), False),
        (lambda m, x: F.linear(x, m.a.weight), False),
    ],
)
def test_what_is_known(body, known):
    assert (read_program(Own(body)) is not None) == known


def test_layers_with_unusual_settings_are_not_known():
    assert read_program(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))) is None
    assert read_program(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"))) is None
    assert read_program(nn.Sequential(nn.Flatten(0))) is None
    assert read_program(nn.Sequential(nn.BatchNorm1d(4))) is None


@pytest.mark.parametrize("kind", ["mlp", "small_cnn", "wild_cnn", "cnn"])
def test_our_own_networks_are_known(kind):
    model = build(parse({"kind": kind}))
    replace_dropout(model)
    assert read_program(model) is not None


@pytest.mark.parametrize("kind", ["transformer", "gru", "tms", "gpt2"])
def test_others_are_not(kind):
    with torch.no_grad():
        assert read_program(build(parse({"kind": kind}))) is None
