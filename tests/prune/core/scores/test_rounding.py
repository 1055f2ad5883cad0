"""Pruning and rounding in one sweep, against the published loop written anew in float64."""

import numpy as np
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.prune.core.inputs import collect_inputs
from digsite.prune.core.matrix import prune_matrix, relative_error
from digsite.prune.core.scores.sparsegpt import fit_rounding_grid


def case(seed=0, shape=(12, 32)):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 60, shape[1], generator=g) @ (
        torch.eye(shape[1]) + 0.1 * torch.randn(shape[1], shape[1], generator=g)
    )
    return torch.randn(*shape, generator=g), x


def published(weight: np.ndarray, hessian: np.ndarray, keep: np.ndarray, bits: int) -> np.ndarray:
    """The sweep over columns with a given mask, no blocks, in float64."""
    w, top = weight.copy(), 2**bits - 1
    low, high = np.minimum(w.min(1), 0), np.maximum(w.max(1), 0)
    scale = (high - low) / top
    zero = np.round(-low / scale)
    h = hessian + 0.01 * np.diag(hessian).mean() * np.eye(len(hessian))
    inverse = np.linalg.cholesky(np.linalg.inv(h)).T
    for i in range(w.shape[1]):
        q = np.where(keep[:, i], w[:, i], 0.0)
        q = scale * (np.clip(np.round(q / scale) + zero, 0, top) - zero)
        w[:, i + 1 :] -= np.outer((w[:, i] - q) / inverse[i, i], inverse[i, i + 1 :])
        w[:, i] = q
    return w


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("pattern", [None, "2:4"])
def test_one_sweep_is_the_published_one(bits, pattern):
    weight, x = case()
    done = prune_matrix(weight, x, "sparsegpt", None if pattern else 0.5, pattern, settings={"bits": bits})
    wanted = published(
        weight.double().numpy(), collect_inputs(x).hessian.double().numpy(), done.keep.numpy(), bits
    )
    step = fit_rounding_grid(weight, bits).scale[:, None]
    assert (
        (done.weight.double() - torch.from_numpy(wanted)).abs() < 1e-4 + 1e-3 * step
    ).double().mean() > 0.97
    assert f"rounded to {bits} bits" in done.note


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_every_weight_is_on_its_rows_grid_and_zero_stays_zero(bits):
    weight, x = case(1)
    done = prune_matrix(weight, x, "sparsegpt", 0.5, settings={"bits": bits})
    grid = fit_rounding_grid(weight, bits)
    levels = done.weight / grid.scale[:, None] + grid.zero[:, None]
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    assert levels.min() > -0.01 and levels.max() < 2**bits - 0.99
    assert not done.weight[~done.keep].any()


def test_together_is_better_than_one_after_the_other():
    weight, x = case(2, (24, 48))
    gram = collect_inputs(x).gram
    together = prune_matrix(weight, x, "sparsegpt", 0.5, settings={"bits": 3})
    apart = prune_matrix(weight, x, "sparsegpt", 0.5).weight
    grid = fit_rounding_grid(weight, 3)
    rounded = torch.stack([grid.rounded(column) for column in apart.T], 1)
    assert relative_error(weight, together.weight, gram) < relative_error(weight, rounded, gram)


def test_a_row_of_zeros_and_strange_bits():
    assert fit_rounding_grid(torch.zeros(2, 4), 4).rounded(torch.zeros(2)).tolist() == [0.0, 0.0]
    for bits in (1, 16):
        with pytest.raises(UsageError, match=f"rounded to {bits} bits"):
            fit_rounding_grid(torch.ones(2, 4), bits)
