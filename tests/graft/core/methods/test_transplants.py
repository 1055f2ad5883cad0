import torch
from torch import nn

from digsite.graft.core.methods import transplants
from digsite.graft.core.nets import find_head, list_layers
from digsite.graft.core.operate import make_sides, plan_method


def chain(*weights: torch.Tensor) -> nn.Sequential:
    net = nn.Sequential()
    for w in weights:
        layer = nn.Linear(w.shape[1], w.shape[0])
        layer.weight.data = w
        net.append(layer)
    return net


def test_cascade_follows_the_heaviest_paths():
    first = torch.eye(4)
    second = torch.tensor([[9.0, 0, 1, 0], [0, 8, 0, 1], [0, 0, 1, 7]])
    top = torch.tensor([[5.0, 1, -3]])
    picks = transplants.pick_cascade(chain(first, second, top), top.abs()[0], start=2, fans=[1])
    assert sorted(picks[1].tolist()) == [0, 2]
    assert sorted(picks[0].tolist()) == [0, 3]


def test_totals_sum_the_weight_above():
    second = torch.tensor([[1.0, 3, 0], [2, 0, 0]])
    picks = transplants.pick_totals(chain(torch.eye(3), second, torch.ones(1, 2)), torch.ones(2), [2, 1])
    assert picks[0].tolist() == [0] or picks[0].tolist() == [1]  # both columns sum to 3


def test_fan_in_groups_a_map_across_the_flattening():
    conv = nn.Conv2d(2, 4, 3)
    flat = nn.Linear(4 * 6, 5)
    assert transplants.sum_fan_in(conv, 2).shape == (4, 2)
    torch.testing.assert_close(transplants.sum_fan_in(flat, 4)[:, 1], flat.weight.abs()[:, 6:12].sum(1))


def test_implant_writes_exactly_the_picked_rows(room):
    donor, receiver = make_sides(plan_method("cascade"), room.pair, room.pools, 0)
    picks = {1: torch.tensor([3, 5])}
    model = transplants.implant_rows(receiver, transplants.send_rows(donor, picks))
    for i, (new, a, b) in enumerate(
        zip(*(list_layers(m).values() for m in (model, room.pair.receiver, room.pair.donor)))
    ):
        changed = (new.weight != a.weight).any(1).nonzero()[:, 0].tolist()
        assert changed == {0: [], 1: [3, 5], 2: [4]}[i]
        torch.testing.assert_close(new.weight[changed], b.weight[changed])


def test_half_mixed_rows_are_the_mean(room):
    donor, receiver = make_sides(plan_method("cascade"), room.pair, room.pools, 0)
    picks = {0: torch.tensor([2])}
    model = transplants.implant_rows(receiver, transplants.send_rows(donor, picks), {0: torch.tensor([0.5])})
    a, b = (next(iter(list_layers(m).values())).weight[2] for m in (room.pair.receiver, room.pair.donor))
    torch.testing.assert_close(next(iter(list_layers(model).values())).weight[2], (a + b) / 2)


def test_importance_is_the_head_row(room):
    donor, _ = make_sides(plan_method("cascade"), room.pair, room.pools, 0)
    torch.testing.assert_close(transplants.rank_head_units(donor), find_head(room.pair.donor).weight[4].abs())
