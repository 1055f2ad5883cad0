"""Spectra from Gram products against a full SVD, and their algebra."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.track.core import spectrum


def table(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * torch.linspace(1, 0.1, d) + 0.4


@pytest.mark.parametrize(("n", "d"), [(40, 200), (200, 40), (64, 64)])
@pytest.mark.parametrize("centered", [False, True])
def test_same_singular_values_as_svd(n: int, d: int, centered: bool) -> None:
    a = table(n, d, n + d)
    truth = a.double() - a.double().mean(0) if centered else a.double()
    singular = torch.linalg.svdvals(truth)
    found = spectrum.spectrum(a, centered=centered).singular
    k = min(n - centered, d)
    assert torch.allclose(found[:k], singular[:k], atol=2e-4 * float(singular[0]))


def test_one_gram_gives_raw_and_centered() -> None:
    a = table(50, 90, 0)
    grams = spectrum.grams(a)
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
        spectrum.check(bad)


def test_rounding_floor_keeps_noise_out_of_the_rank() -> None:
    low_rank = torch.randn(80, 3) @ torch.randn(3, 60)
    singular = spectrum.spectrum(low_rank).singular
    assert int((singular > 0).sum()) == 3
    assert np.isfinite(singular.numpy()).all()
