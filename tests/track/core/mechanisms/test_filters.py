"""Matching finds a permutation, and noise stays at its null."""

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.track import filter_similarity


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_permuted_filters_match() -> None:
    filters = torch.randn(12, 3, 3, 3, generator=draw())
    order = torch.randperm(12, generator=draw(1))
    found = filter_similarity(filters, 2 * filters[order], draw())
    assert found.matched == pytest.approx(1)
    assert found.in_place < 0.6
    assert found.p < 0.05


def test_noise_is_no_better_than_scrambled_filters() -> None:
    found = [
        filter_similarity(
            torch.randn(16, 2, 3, 3, generator=draw(s)),
            torch.randn(16, 2, 3, 3, generator=draw(99 + s)),
            draw(),
        )
        for s in range(10)
    ]
    assert all(f.matched > 0.3 for f in found)  # matching alone makes noise look alike
    assert sum(f.matched - f.null for f in found) / 10 == pytest.approx(0, abs=0.05)


def test_shapes_must_agree() -> None:
    with pytest.raises(UsageError, match="cannot be matched"):
        filter_similarity(torch.ones(2, 3), torch.ones(3, 3), draw())
