"""Debiased CKA: one for equal geometry, zero on average for independent noise."""

import numpy as np
import pytest
import torch

from digsite.track.core.similarity import cka, hsic


def gram(x: torch.Tensor) -> torch.Tensor:
    return x @ x.T


def test_rotation_and_scale_change_nothing() -> None:
    x = torch.randn(60, 10, dtype=torch.float64)
    q = torch.linalg.qr(torch.randn(10, 10, dtype=torch.float64))[0]
    assert float(cka(gram(x), gram(3 * x @ q))) == pytest.approx(1)
    assert float(cka(gram(x), gram(x + 5))) == pytest.approx(1)


def test_independent_noise_scores_zero_where_the_biased_form_does_not() -> None:
    values = []
    for seed in range(30):
        draw = torch.Generator().manual_seed(seed)
        x, y = (torch.randn(64, 768, generator=draw, dtype=torch.float64) for _ in range(2))
        values.append(float(cka(gram(x), gram(y))))
    assert abs(np.mean(values)) < 0.02
    centered = [gram(t - t.mean(0)) for t in (x, y)]
    biased = (centered[0] * centered[1]).sum() / (centered[0].norm() * centered[1].norm())
    assert float(biased) > 0.85


def test_hsic_is_the_mean_over_all_quadruples() -> None:
    """The definition as a U-statistic over four different rows, counted out."""
    from itertools import permutations

    draw = torch.Generator().manual_seed(0)
    k, m = (gram(torch.randn(6, 3, generator=draw, dtype=torch.float64)) for _ in range(2))
    terms = [
        k[i, j] * m[i, j] + k[i, j] * m[q, r] - 2 * k[i, j] * m[i, q]
        for i, j, q, r in permutations(range(6), 4)
    ]
    assert float(hsic(k, m)) == pytest.approx(float(torch.stack(terms).mean()))


def test_a_side_without_geometry_is_a_hole_and_no_number_of_5e37() -> None:
    x = torch.randn(64, 20, generator=torch.Generator().manual_seed(0))
    for flat in (torch.ones(64, 20), torch.ones(64, 20) + 1e-7 * x, torch.zeros(64, 20)):
        assert torch.isnan(cka(gram(x), gram(flat))) and torch.isnan(cka(gram(flat), gram(x)))
    alone = torch.zeros(64, 20)
    alone[0, 0] = 1.0  # one row differs from all others: the debiased norm is noise around zero
    value = float(cka(gram(x), gram(alone)))
    assert np.isnan(value) or abs(value) <= 1.5
