"""Spectra from Gram products against a full SVD, and their algebra."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.track.core import spectrum
from digsite.track.core.spectrum import cka, row_grams, unbiased_hsic


def table(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * torch.linspace(1, 0.1, d) + 0.4


@pytest.mark.parametrize(("n", "d"), [(40, 200), (200, 40), (64, 64)])
@pytest.mark.parametrize("centered", [False, True])
def test_same_singular_values_as_svd(n: int, d: int, centered: bool) -> None:
    a = table(n, d, n + d)
    truth = a.double() - a.double().mean(0) if centered else a.double()
    singular = torch.linalg.svdvals(truth)
    found = spectrum.table_spectrum(a, centered=centered).singular
    k = min(n - centered, d)
    assert torch.allclose(found[:k], singular[:k], atol=2e-4 * float(singular[0]))


def test_one_gram_gives_raw_and_centered() -> None:
    a = table(50, 90, 0)
    grams = spectrum.row_grams(a)
    centered = a - a.mean(0)
    assert torch.allclose(grams.centered.rows, centered @ centered.T, atol=1e-3)
    share = 50 * float(a.mean(0).square().sum()) / float(a.square().sum())
    assert float(grams.mean_share) == pytest.approx(share, rel=1e-5)
    assert float(grams.energy2) == pytest.approx(float((grams.spectrum().squared ** 2).sum()), rel=1e-5)


@given(st.integers(5, 40), st.integers(0, 1000))
def test_lanczos_finds_the_top_value(n: int, seed: int) -> None:
    a = table(n, 30, seed)
    rows = (a @ a.T)[None].double()
    truth = float(torch.linalg.eigvalsh(rows[0])[-1])
    value, vector = spectrum.top_energy(rows)
    assert float(value) == pytest.approx(truth, rel=1e-5)
    again, _ = spectrum.top_energy(rows, vector, iterations=4)
    assert float(again) == pytest.approx(truth, rel=1e-5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(0, 4), "empty"),
        (torch.zeros(3), "shape"),
        (torch.tensor([[1.0, float("nan")]]), "1 of 2 values"),
    ],
)
def test_bad_tables_are_named(bad: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        spectrum.check_activations(bad)


def test_rounding_floor_keeps_noise_out_of_the_rank() -> None:
    low_rank = torch.randn(80, 3) @ torch.randn(3, 60)
    singular = spectrum.table_spectrum(low_rank).singular
    assert int((singular > 0).sum()) == 3
    assert np.isfinite(singular.numpy()).all()


# Debiased CKA: one for equal geometry, zero on average for independent noise.


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
    assert float(unbiased_hsic(k, m)) == pytest.approx(float(torch.stack(terms).mean()))


def test_a_side_without_geometry_is_a_hole_and_no_number_of_5e37() -> None:
    x = torch.randn(64, 20, generator=torch.Generator().manual_seed(0))
    for flat in (torch.ones(64, 20), torch.ones(64, 20) + 1e-7 * x, torch.zeros(64, 20)):
        assert torch.isnan(cka(gram(x), gram(flat))) and torch.isnan(cka(gram(flat), gram(x)))
    alone = torch.zeros(64, 20)
    alone[0, 0] = 1.0  # one row differs from all others: the debiased norm is noise around zero
    value = float(cka(gram(x), gram(alone)))
    assert np.isnan(value) or abs(value) <= 1.5


# TwoNN on manifolds of known dimension; twins and the scale scan.


def distances(x: torch.Tensor) -> torch.Tensor:
    return spectrum.squared_distances(row_grams(x))


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_uniform_cubes_in_a_larger_space(dimension: int) -> None:
    draw = torch.Generator().manual_seed(dimension)
    cube = torch.rand(1500, dimension, generator=draw, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(20, 20, generator=draw, dtype=torch.float64))[0][:dimension]
    assert float(spectrum.two_nn(distances(cube @ turn))) == pytest.approx(dimension, rel=0.12)


def test_a_circle_is_one_dimensional_where_spectra_say_two() -> None:
    angle = torch.rand(600, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 * math.pi
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    scan = spectrum.two_nn_scan(distances(circle), torch.Generator().manual_seed(1))
    assert [size for size, _ in scan] == [600, 300, 150, 75]
    assert all(0.85 < value < 1.15 for _, value in scan)


def test_of_twins_one_stays_and_too_few_rows_have_no_dimension() -> None:
    x = torch.rand(400, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    doubled = torch.cat([x, x[:100]])
    assert float(spectrum.two_nn(distances(doubled))) == pytest.approx(
        float(spectrum.two_nn(distances(x))), rel=1e-6
    )
    assert math.isnan(spectrum.two_nn(distances(torch.zeros(50, 3))))


# Bias correction and bootstrap against the dimension of the distribution itself.

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
        [float(spectrum.unbiased_participation(row_grams(x), centered=centered)) for x in draws(40, 150)]
    )
    assert plain < 0.65 * TRUE
    assert fixed == pytest.approx(TRUE, rel=0.06)


def _plain(x: torch.Tensor, centered: bool) -> float:
    g = row_grams(x).centered if centered else row_grams(x)
    return float(g.energy.square() / g.energy2)


def test_bootstrap_spread_is_the_sampling_spread() -> None:
    samples = [_plain(x, True) for x in draws(100, 150)]
    _, centered = spectrum.bootstrap_dimension(
        row_grams(draws(100, 1)[0]), torch.Generator().manual_seed(0), 150
    )
    assert float(centered.std()) == pytest.approx(np.std(samples), rel=0.6)


def test_the_cap() -> None:
    assert spectrum.bounded_by_rows(30, 100) and not spectrum.bounded_by_rows(20, 100)
