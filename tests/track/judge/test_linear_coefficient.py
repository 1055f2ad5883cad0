"""Aoyagi's closed form against the older one for two layers, against a regular model, and networks that have it."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.track.judge.linear_coefficient import (
    build_linear_network,
    draw_white_inputs,
    solve_linear_coefficient,
    unit_noise_loss,
)

WIDTH = st.integers(1, 9)


def reduced_rank(m: int, h: int, n: int, r: int) -> float:
    """Reduced rank regression (Aoyagi and Watanabe 2005), written out by its four cases; m inputs, h hidden, n outputs."""
    if n + r <= m + h and m + r <= n + h and h + r <= m + n:
        odd = (m + h + n + r) % 2
        return (-((h + r) ** 2) - m**2 - n**2 + 2 * (h + r) * m + 2 * (h + r) * n + 2 * m * n + odd) / 8
    if m + h < n + r:
        return (h * m - h * r + n * r) / 2
    if n + h < m + r:
        return (h * n - h * r + m * r) / 2
    return m * n / 2


@given(m=WIDTH, h=WIDTH, n=WIDTH, share=st.floats(0, 1))
def test_two_layers_agree_with_reduced_rank_regression(m: int, h: int, n: int, share: float) -> None:
    rank = round(share * min(m, h, n))
    assert solve_linear_coefficient([m, h, n], rank).value == pytest.approx(reduced_rank(m, h, n, rank))


@given(m=WIDTH, n=WIDTH, share=st.floats(0, 1))
def test_one_layer_is_regular(m: int, n: int, share: float) -> None:
    found = solve_linear_coefficient([m, n], round(share * min(m, n)))
    assert found.value == m * n / 2 and found.multiplicity == 1


@given(widths=st.lists(WIDTH, min_size=2, max_size=6), share=st.floats(0, 1))
def test_never_above_half_the_parameters_nor_the_order_of_layers(widths: list[int], share: float) -> None:
    rank = round(share * min(widths))
    found = solve_linear_coefficient(widths, rank)
    assert 0 <= found.value <= sum(a * b for a, b in itertools.pairwise(widths)) / 2
    assert found == solve_linear_coefficient(widths[::-1], rank)
    inner = [widths[0], *sorted(widths[1:-1]), widths[-1]]
    assert found.value == pytest.approx(solve_linear_coefficient(inner, rank).value)


def test_impossible_rank() -> None:
    with pytest.raises(UsageError, match="rank=4 is none"):
        solve_linear_coefficient([5, 3, 6], 4)


def test_networks_are_at_a_minimum_of_the_rank_that_is_asked() -> None:
    model = build_linear_network([6, 5, 4, 7], 3, seed=0)
    ranks = [int(torch.linalg.matrix_rank(layer.weight, atol=1e-5)) for layer in model]
    assert ranks == [3, 3, 3]
    x = draw_white_inputs(32, 6, seed=1)
    assert torch.allclose(x.T @ x / 32, torch.eye(6), atol=1e-5)
    assert unit_noise_loss(model(x), model(x)).item() == 0
