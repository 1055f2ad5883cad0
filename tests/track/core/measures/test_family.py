"""Identities and bounds that every measure and every pair of measures keeps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base import families
from digsite.track.core.spectrum import Spectrum, table_spectrum

MEMBERS = families.scan_family("digsite.track.core.measures")
DIMENSIONS = sorted(name for name, member in MEMBERS.items() if member.IS_DIMENSION)


def value(name: str, s: Spectrum) -> float:
    return float(MEMBERS[name].measure(s))


@st.composite
def spectrums(draw: st.DrawFn) -> Spectrum:
    n, d, seed = draw(st.integers(3, 30)), draw(st.integers(2, 30)), draw(st.integers(0, 10**6))
    a = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return table_spectrum(a * torch.logspace(0, -draw(st.integers(0, 2)), d, dtype=torch.float64))


@given(spectrums())
def test_identities(s: Spectrum) -> None:
    stable, ratio = value("stable_rank", s), value("nuclear_norm_ratio", s)
    participation = value("participation_ratio", s)
    assert stable == pytest.approx(ratio**2 / participation, rel=1e-3)
    assert stable <= participation * 1.001
    assert participation <= len(s.squared) + 1e-6
    assert ratio >= stable * 0.999
    assert value("participation_ratio_variance", s) <= participation * 1.001


@pytest.mark.parametrize("name", DIMENSIONS)
def test_k_equal_directions_count_as_k(name: str) -> None:
    assert value(name, table_spectrum(3.0 * torch.eye(20, 7))) == pytest.approx(7)


@pytest.mark.parametrize("name", DIMENSIONS)
def test_free_of_scale_and_rotation(name: str) -> None:
    a = torch.randn(40, 12, dtype=torch.float64) * torch.linspace(1, 0.2, 12, dtype=torch.float64)
    q = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64))[0]
    assert value(name, table_spectrum(a)) == pytest.approx(value(name, table_spectrum(-7 * a @ q)), rel=1e-6)


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_a_zero_matrix_has_a_finite_value(name: str) -> None:
    assert torch.isfinite(MEMBERS[name].measure(table_spectrum(torch.zeros(5, 4)))).all()


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_stacks_give_what_single_ones_give(name: str) -> None:
    a = torch.randn(3, 20, 6, dtype=torch.float64)
    squared = torch.stack([table_spectrum(x).squared for x in a])
    together = MEMBERS[name].measure(Spectrum(squared, 20, 6))
    assert torch.allclose(
        together, torch.stack([MEMBERS[name].measure(table_spectrum(x)) for x in a]).double()
    )


def test_spectral_norm_is_the_two_norm() -> None:
    a = torch.randn(9, 5, dtype=torch.float64)
    assert value("spectral_norm", table_spectrum(a)) == pytest.approx(float(torch.linalg.matrix_norm(a, 2)))
