import torch

from digsite.graft.judge.compare import readable_ceiling, row_inside, where_to_cut


def test_every_layer_has_its_ceiling(room):
    depths = readable_ceiling(room.pair, room.pools, room.scorer, room.lens)
    assert [d.layer for d in depths] == [1, 2] and [d.width for d in depths] == [64, 32]
    assert all(0 <= d.ceiling <= 100 and d.map_r2 <= 100 and 0 <= d.row_seen <= 100 for d in depths)
    assert depths[0].ceiling > 60


def test_a_row_inside_or_outside_of_what_moves():
    flat = torch.randn(100, 4)
    flat[:, 2:] = 0
    assert row_inside(torch.tensor([[1.0, 1, 0, 0]]), flat) > 0.99
    assert row_inside(torch.tensor([[0.0, 0, 1, 1]]), flat) < 0.01


def test_where_to_cut(room):
    depths = readable_ceiling(room.pair, room.pools, room.scorer, room.lens)
    assert where_to_cut(depths, least=0) == 2 and where_to_cut(depths, least=101) is None
