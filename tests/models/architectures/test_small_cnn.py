import pytest
import torch

from digsite.base.errors import UsageError
from digsite.models import build
from digsite.models.configs.small_cnn import SmallCnnConfig


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
