"""Norms and ranks of an update, and sparsity without a scale."""

import pytest
import torch

from digsite.base.errors import UsageError
from digsite.track import activation_sparsity, weight_change


def test_a_rank_one_update() -> None:
    before = torch.randn(6, 4, dtype=torch.float64)
    after = before + torch.outer(torch.ones(6), torch.tensor([3.0, 4, 0, 0]))
    found = weight_change(before, after)
    assert found.update_stable_rank == pytest.approx(1, abs=1e-4)
    assert found.l2_norm == pytest.approx(5 * 6**0.5)
    assert found.largest == 4
    assert found.relative == pytest.approx(5 * 6**0.5 / float(before.norm()))


def test_no_change() -> None:
    w = torch.randn(3, 3)
    found = weight_change(w, w)
    assert found.l2_norm == 0 and found.cosine == pytest.approx(1)
    with pytest.raises(UsageError, match="cannot be compared"):
        weight_change(w, torch.ones(2, 2))


def test_sparsity_is_free_of_scale() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    x[:500] = 0
    assert activation_sparsity(x) == activation_sparsity(1e-4 * x)
    assert 0.5 < activation_sparsity(x) < 0.6
    assert activation_sparsity(torch.zeros(5)) == 1
