"""Bias correction and bootstrap against the dimension of the distribution itself."""

import numpy as np
import pytest
import torch

from digsite.track.core import sampling
from digsite.track.core.spectrum import grams

SPREAD = torch.linspace(1, 0.2, 60, dtype=torch.float64)
TRUE = float(SPREAD.square().sum() ** 2 / SPREAD.pow(4).sum())


def draws(n: int, count: int) -> list[torch.Tensor]:
    return [
        torch.randn(n, 60, generator=torch.Generator().manual_seed(s), dtype=torch.float64) * SPREAD
        for s in range(count)
    ]


@pytest.mark.parametrize("centered", [True, False])
def test_the_correction_takes_the_bias_off(centered: bool) -> None:
    plain = np.mean([_plain(x, centered) for x in draws(40, 150)])
    fixed = np.mean(
        [float(sampling.unbiased_participation(grams(x), centered=centered)) for x in draws(40, 150)]
    )
    assert plain < 0.65 * TRUE
    assert fixed == pytest.approx(TRUE, rel=0.06)


def _plain(x: torch.Tensor, centered: bool) -> float:
    g = grams(x).centered if centered else grams(x)
    return float(g.energy.square() / g.energy2)


def test_bootstrap_spread_is_the_sampling_spread() -> None:
    samples = [_plain(x, True) for x in draws(100, 150)]
    _, centered = sampling.bootstrap(grams(draws(100, 1)[0]), torch.Generator().manual_seed(0), 150)
    assert float(centered.std()) == pytest.approx(np.std(samples), rel=0.6)


def test_the_cap() -> None:
    assert sampling.capped(30, 100) and not sampling.capped(20, 100)
