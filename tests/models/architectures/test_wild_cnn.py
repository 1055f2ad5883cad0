import numpy as np
import pytest
import torch

from digsite.models import build
from digsite.models.configs.wild_cnn import sample


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("side", [8, 15])
def test_any_member_of_the_park_runs_on_any_size(seed, side):
    config = sample(np.random.default_rng(seed), channels_in=3, n_classes=4)
    assert build(config)(torch.rand(2, 3, side, side)).shape == (2, 4)
