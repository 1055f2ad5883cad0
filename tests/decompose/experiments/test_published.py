"""Random parts against what geometry says of them."""

import math

import pytest
import torch

from digsite.decompose.experiments.published import random_parts
from digsite.decompose.judge.score import match_true_columns


def test_in_a_plane_twenty_random_parts_are_always_near():
    """The angle to a random direction is uniform up to a half turn; of n the least counts."""
    angles = torch.rand(4000, generator=torch.Generator().manual_seed(0)) * math.pi
    weight = torch.stack([angles.cos(), angles.sin()], 1)
    generator = torch.Generator().manual_seed(1)
    n = 20
    closest = (torch.rand(20_000, n, generator=generator) * math.pi).min(1).values.cos().mean()
    values = [
        match_true_columns(random_parts(weight, n, torch.Generator().manual_seed(s)))["mmcs"]
        for s in range(8)
    ]
    assert sum(values) / 8 == pytest.approx(float(closest), abs=0.004)
    assert min(values) > 0.97


def test_in_ten_dimensions_they_are_not():
    weight = torch.nn.functional.normalize(
        torch.randn(40, 10, generator=torch.Generator().manual_seed(0)), dim=1
    )
    assert 0.6 < match_true_columns(random_parts(weight, 200, torch.Generator().manual_seed(1)))["mmcs"] < 0.9
