import numpy as np
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.models import build
from digsite.models.architectures.convolutional import count_features
from digsite.models.configs.convolutional import CnnConfig, SmallCnnConfig, sample_wild_cnn


@pytest.mark.parametrize("pool", ["each", "last", "mean", "none"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_flat_size_is_what_comes_out(pool, stride):
    config = CnnConfig(image=(2, 21, 17), channels=[3, 4], pool=pool, stride=stride, padding=1, n_classes=6)
    model = build(config)
    assert model.features(torch.rand(3, 2, 21, 17)).shape == (3, count_features(config))
    assert model(torch.rand(3, 2, 21, 17)).shape == (3, 6)


def test_an_image_that_is_too_small_is_named():
    with pytest.raises(UsageError, match="An image of 8x8 is too small for convolution 2 of 3"):
        build(CnnConfig(image=(1, 8, 8), channels=[4, 4, 4], padding=0))


def test_it_has_the_published_parameters():
    sizes = [sum(p.numel() for p in part.parameters()) for part in (*build(SmallCnnConfig()).convs,)]
    assert sizes == [160, 2320, 2320]
    assert sum(p.numel() for p in build(SmallCnnConfig()).parameters()) == 4970


def test_the_smallest_image():
    assert build(SmallCnnConfig())(torch.rand(2, 1, 15, 15)).shape == (2, 10)
    with pytest.raises(
        UsageError, match=r"An image of 14x14 is too small for three convolutions\. Use padding=1"
    ):
        build(SmallCnnConfig())(torch.rand(2, 1, 14, 14))
    assert build(SmallCnnConfig(padding=1))(torch.rand(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("side", [8, 15])
def test_any_member_of_the_park_runs_on_any_size(seed, side):
    config = sample_wild_cnn(np.random.default_rng(seed), channels_in=3, n_classes=4)
    assert build(config)(torch.rand(2, 3, side, side)).shape == (2, 4)
