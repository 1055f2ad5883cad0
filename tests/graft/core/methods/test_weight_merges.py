import torch

from digsite.graft.core.merges.averages import merge_by_ties, sum_changes
from digsite.graft.core.methods.weight_merges import mix_states, repair_units
from digsite.graft.core.nets import make_plain_net

START, A, B = ({"w": torch.tensor(v)} for v in ([0.0, 0, 0, 0], [4.0, 1, -2, 0], [2.0, -3, -1, 0]))


def test_mixed_and_summed():
    assert mix_states(A, B, 0.5)["w"].tolist() == [3, -1, -1.5, 0]
    assert sum_changes(START, [A, B], 0.5)["w"].tolist() == [3, -1, -1.5, 0]


def test_ties_keeps_the_elected_sign():
    assert merge_by_ties(START, [A, B], keep=1.0, scale=1.0)["w"].tolist() == [3, -3, -1.5, 0]
    assert merge_by_ties(START, [A, B], keep=0.25, scale=1.0)["w"].tolist() == [4, -3, 0, 0]


def test_repair_gives_the_parents_mean_and_spread():
    draw = torch.Generator().manual_seed(0)
    nets = []
    for scale in (1.0, 3.0):
        shapes = [(9, 6), (7, 9), (3, 7)]
        nets.append(
            make_plain_net(
                [scale * torch.randn(s, generator=draw) for s in shapes], [torch.randn(s[0]) for s in shapes]
            )
        )
    x = torch.randn(400, 6, generator=draw)
    blend = make_plain_net(
        [torch.zeros(9, 6) + 0.1 * torch.randn(9, 6), torch.randn(7, 9), torch.randn(3, 7)],
        [torch.zeros(9), torch.zeros(7), torch.zeros(3)],
    )
    fixed = repair_units(blend, x, nets[0], nets[1], 0.5)
    first = [net[1](x) for net in (*nets, fixed)]
    torch.testing.assert_close(
        first[2].mean(0), (first[0].mean(0) + first[1].mean(0)) / 2, atol=1e-3, rtol=1e-3
    )
    torch.testing.assert_close(first[2].std(0), (first[0].std(0) + first[1].std(0)) / 2, atol=1e-3, rtol=1e-3)
