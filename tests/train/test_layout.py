"""Rows and named tensors are the same memory."""

import torch
from torch import nn

from digsite.train.layout import Layout, untrained


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
    assert set(untrained(model)) == {"2.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"}
    joined = layout.join(views, torch.empty(4, layout.width))
    assert torch.equal(joined[2], row)
    views["0.weight"][1] = 7
    assert (layout.views(joined)["0.weight"] != 7).all()
