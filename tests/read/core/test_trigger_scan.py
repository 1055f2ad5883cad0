import torch

from digsite.read.core.agreement import Agreement, Maps
from digsite.read.core.trigger_scan import image_side, scan


def _zoo():
    ones = torch.ones(10, 64).double()
    return Agreement(ones, ones[:1], torch.eye(64), torch.eye(64), 0 * ones, ones, 0 * ones[0], ones[0])


def test_planted_window_stands_out_wherever_it_is():
    torch.manual_seed(0)
    unit = torch.randn(30, 10, 64).double()
    planted = unit.clone().reshape(30, 10, 8, 8)
    planted[:, 3, 2:5, 4:6] += 4
    first = torch.randn(30, 12, 64).double()
    clean, found = (scan(Maps(u, u, first), _zoo()) for u in (unit, planted.flatten(2)))
    assert (found[:, 7] > clean.amax(0)[7]).all()  # the strongest window of all classes


def test_image_shapes():
    assert image_side(64) == (1, 8) and image_side(3 * 32 * 32) == (3, 32) and image_side(50) is None
