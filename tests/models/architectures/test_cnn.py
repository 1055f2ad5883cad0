import pytest
import torch

from digsite.base.errors import UsageError
from digsite.models import build
from digsite.models.architectures.cnn import flat_size
from digsite.models.configs.cnn import CnnConfig


@pytest.mark.parametrize("pool", ["each", "last", "mean", "none"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_flat_size_is_what_comes_out(pool, stride):
    config = CnnConfig(image=(2, 21, 17), channels=[3, 4], pool=pool, stride=stride, padding=1, n_classes=6)
    model = build(config)
    assert model.features(torch.rand(3, 2, 21, 17)).shape == (3, flat_size(config))
    assert model(torch.rand(3, 2, 21, 17)).shape == (3, 6)


def test_an_image_that_is_too_small_is_named():
    with pytest.raises(UsageError, match="An image of 8x8 is too small for convolution 2 of 3"):
        build(CnnConfig(image=(1, 8, 8), channels=[4, 4, 4], padding=0))
