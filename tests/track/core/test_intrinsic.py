"""TwoNN on manifolds of known dimension; twins and the scale scan."""

import math

import pytest
import torch

from digsite.track.core import intrinsic
from digsite.track.core.spectrum import grams


def distances(x: torch.Tensor) -> torch.Tensor:
    return intrinsic.squared_distances(grams(x))


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_uniform_cubes_in_a_larger_space(dimension: int) -> None:
    draw = torch.Generator().manual_seed(dimension)
    cube = torch.rand(1500, dimension, generator=draw, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(20, 20, generator=draw, dtype=torch.float64))[0][:dimension]
    assert float(intrinsic.two_nn(distances(cube @ turn))) == pytest.approx(dimension, rel=0.12)


def test_a_circle_is_one_dimensional_where_spectra_say_two() -> None:
    angle = torch.rand(600, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 * math.pi
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    scan = intrinsic.two_nn_scan(distances(circle), torch.Generator().manual_seed(1))
    assert [size for size, _ in scan] == [600, 300, 150, 75]
    assert all(0.85 < value < 1.15 for _, value in scan)


def test_of_twins_one_stays_and_too_few_rows_have_no_dimension() -> None:
    x = torch.rand(400, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    doubled = torch.cat([x, x[:100]])
    assert float(intrinsic.two_nn(distances(doubled))) == pytest.approx(
        float(intrinsic.two_nn(distances(x))), rel=1e-6
    )
    assert math.isnan(intrinsic.two_nn(distances(torch.zeros(50, 3))))
