"""Rows and named tensors are the same memory."""

import torch
from torch import nn

from digsite.base.streams import derive_seed
from digsite.models import build, init, parse
from digsite.train import Ensemble, Member
from digsite.train.layout import Layout, list_untrained


def test_views_and_rows_are_inverse():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    model[2].bias.requires_grad_(False)
    layout = Layout.of(model)
    row = layout.row(model)
    views = layout.views(row[None].repeat(4, 1))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(views[name][3], parameter)
    assert layout.width == row.numel() == 6 + 2 + 4 + 2
    assert set(list_untrained(model)) == {
        "2.bias",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    }
    joined = layout.join(views, torch.empty(4, layout.width))
    assert torch.equal(joined[2], row)
    views["0.weight"][1] = 7
    assert (layout.views(joined)["0.weight"] != 7).all()


# A member's first weights are those of the named scheme under its own stream.

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
