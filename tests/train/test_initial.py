"""A member's first weights are those of the named scheme under its own stream."""

import torch
from torch import nn

from digsite.base.streams import derive_seed
from digsite.models import build, init, parse
from digsite.train import Ensemble, Member

X = torch.rand(40, 64), torch.randint(0, 10, (40,))


def first(member: Member) -> dict[str, torch.Tensor]:
    model = build(parse({"kind": "mlp"}))
    return {name: value[0] for name, value in Ensemble(model, X, [member]).params.items()}


def test_equals_init_of_the_models_floor():
    for scheme, scale in (("default", 1.0), ("orthogonal", 2.0), ("normal", 0.05), ("he", 0.5)):
        expected = build(parse({"kind": "mlp"}))
        init(expected, derive_seed(3, "init"), scheme, scale)
        found = first(Member(seed=3, init=scheme, init_scale=scale))
        for name, parameter in expected.named_parameters():
            assert torch.equal(found[name], parameter)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first(Member(seed=1))
    Ensemble(lambda: nn.Linear(64, 10), X, [Member()])
    assert torch.equal(torch.rand(3), expected)
