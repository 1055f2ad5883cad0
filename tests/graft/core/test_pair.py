import pytest
import torch
from torch import nn

from digsite.base.errors import NotFound, UsageError
from digsite.graft.core.pair import Message, Pair


def net(out: int = 10) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, out))


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ({"new": (3,)}, "already knows class 3"),
        ({"shared": (2, 9)}, "Shared class 9"),
        ({"foreign": (4,)}, "cannot be foreign"),
        ({"new": ()}, "at least one new class"),
        ({"new": (12,)}, "does not know class 12"),
        ({"old": (0, 30), "shared": ()}, "receiver's head has 10 outputs"),
    ],
)
def test_classes_that_make_no_task(classes, says):
    with pytest.raises(UsageError, match=says):
        Pair(net(), net(), **classes)


@pytest.mark.parametrize("role", ["receiver", "donor"])
def test_weights_that_are_not_finite(role):
    sick = net()
    sick[0].weight.data[0, 0] = float("nan")
    with pytest.raises(UsageError, match=f"{role}'s weights are not finite in '0.weight'"):
        Pair(**{"receiver": net(), "donor": net(), role: sick})


def test_a_model_without_a_head():
    headless = nn.Sequential(nn.Linear(4, 6), nn.Conv2d(1, 1, 1))
    with pytest.raises(NotFound, match="No head found"):
        Pair(receiver=headless, donor=net())


def test_a_head_by_name():
    wide = nn.ModuleDict({"top": nn.Linear(6, 10), "extra": nn.Conv2d(1, 1, 1)})
    assert Pair(net(), wide, receiver_head="top").name_heads() == ("top", "2")
    with pytest.raises(NotFound, match="Did you mean 'top'"):
        Pair(net(), wide, receiver_head="topp")


def test_noise_keeps_numbers_and_addresses():
    message = Message({"w": torch.arange(40.0).reshape(8, 5), "rows": torch.tensor([3, 1])})
    noise = message.shuffle_numbers(1)
    assert not torch.equal(noise.tensors["w"], message.tensors["w"])
    assert torch.equal(noise.tensors["w"].flatten().sort().values, torch.arange(40.0))
    assert torch.equal(noise.tensors["rows"], message.tensors["rows"])
    assert torch.equal(noise.tensors["w"], message.shuffle_numbers(1).tensors["w"])
    assert message.n_bytes == 40 * 4 + 2 * 8
    assert Message({"a/x": torch.zeros(1), "b": torch.zeros(1)}).select_under("a/").keys() == {"x"}
