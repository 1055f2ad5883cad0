import pytest
import torch
from torch import nn

from digsite.graft.core import nets


@pytest.fixture
def mlp() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(9, 7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)
    )


def test_acts_are_what_flows_into_each_layer(mlp):
    x = torch.randn(11, 1, 3, 3)
    seen = nets.collect_acts(mlp, x, batch=4)
    first = mlp[0](x.flatten(1)).relu()
    second = mlp[3](first).relu()
    torch.testing.assert_close(seen.hidden, (first, second))
    torch.testing.assert_close(seen.logits, mlp[5](second))
    assert seen.everything.shape == (11, 12) and seen.last is seen.hidden[-1]
    torch.testing.assert_close(nets.predict_logits(mlp, x, batch=3), seen.logits)


def test_hooks_do_not_stay(mlp):
    nets.collect_acts(mlp, torch.randn(2, 9))
    assert all(not m._forward_pre_hooks for m in mlp.modules())


def test_plain_means_a_relu_chain(mlp):
    assert nets.is_plain(mlp)
    assert not nets.is_plain(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)))
    assert not nets.is_plain(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)))


def test_a_plain_net_from_its_matrices_is_the_same(mlp):
    x = torch.randn(5, 9)
    torch.testing.assert_close(nets.make_plain_net(*nets.read_matrices(mlp))(x), mlp.eval()(x))
    assert nets.has_same_shape(mlp, nets.make_plain_net(*nets.read_matrices(mlp)))


@pytest.mark.parametrize(
    ("shape", "width"), [((3, 8, 9, 9), 8 * 16), ((3, 6, 10), 10), ((3, 5000), nets.WIDE), ((3, 7), 7)]
)
def test_condense(shape, width):
    assert nets.condense_features(torch.randn(shape)).shape == (3, width)
