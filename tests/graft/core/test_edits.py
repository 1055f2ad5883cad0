from itertools import pairwise

import torch
from torch import nn

from digsite.graft.core import edits
from digsite.graft.core.nets import make_plain_net


def net(*sizes: int, seed: int = 0) -> nn.Sequential:
    draw = torch.Generator().manual_seed(seed)
    pairs = list(pairwise(sizes))
    return make_plain_net(
        [torch.randn(o, i, generator=draw) for i, o in pairs],
        [torch.randn(o, generator=draw) for _, o in pairs],
    )


def test_side_by_side_holds_both_functions_at_any_depth():
    x = torch.randn(20, 6)
    for shape_a, shape_b in (((6, 5, 4), (6, 7, 3, 4)), ((6, 5, 5, 4), (6, 3, 4)), ((6, 5, 4), (6, 5, 4))):
        a, b = net(*shape_a), net(*shape_b, seed=1)
        both = edits.join_networks(a, b, [3])(x)
        torch.testing.assert_close(both[:, :3], a(x)[:, :3], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(both[:, 3], b(x)[:, 3], rtol=1e-4, atol=1e-4)


def test_a_wider_head_never_says_what_it_was_not_taught():
    a, x = net(6, 5, 3), torch.randn(9, 6)
    wide = edits.widen_head(a, "3", [4])(x)
    torch.testing.assert_close(wide[:, :3], a(x))
    assert wide.shape[1] == 5 and (wide[:, 3:] < -1e3).all()


def test_set_rows_changes_one_row_of_a_copy():
    a, x = net(6, 5, 4), torch.randn(9, 6)
    before = a(x)
    new = edits.set_rows(a, "3", [2], torch.ones(1, 5), torch.tensor([7.0]))(x)
    torch.testing.assert_close(a(x), before)
    torch.testing.assert_close(new[:, [0, 1, 3]], before[:, [0, 1, 3]])
    torch.testing.assert_close(new[:, 2], a[1](x).relu().sum(1) + 7)


def test_read_all_reads_every_layer():
    a, x = net(6, 5, 4, 3), torch.randn(9, 6)
    h1 = a[1](x).relu()
    h2 = a[3](h1).relu()
    part = nn.Linear(9, 1)
    model = edits.Beside(a, "5", [1], part)
    torch.testing.assert_close(model(x)[:, 1:2], part(torch.cat([h1, h2], 1)))
    torch.testing.assert_close(model(x)[:, [0, 2]], a(x)[:, [0, 2]])


def test_beside_and_shifted():
    a, part, x = net(6, 5, 4), nn.Linear(5, 1), torch.randn(9, 6)
    both = edits.Beside(a, "3", [3], part, 0)
    torch.testing.assert_close(both(x)[:, 3:], part(a[1](x).relu()))
    torch.testing.assert_close(edits.Shifted(both, [3], 2.0)(x)[:, 3:], part(a[1](x).relu()) + 2)
    assert both.base is a  # many grafts of one receiver are scored in one pass through it
