"""The solver against the closed form of every row, in float64 and by numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from digsite.prune.core.least_squares import solve_on_support, squared_error


def problem(seed: int, rows: int, n: int, tokens: int):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, n, generator=g) * torch.linspace(0.5, 2, n)
    target = torch.randn(tokens, rows, generator=g)
    keep = torch.rand(rows, n, generator=g) < 0.5
    return x, target, keep, torch.randn(rows, n, generator=g)


def closed_form(x, target, keep, start, ridge: float) -> np.ndarray:
    x, target, start = (t.double().numpy() for t in (x, target, start))
    gram, out = x.T @ x, np.zeros(start.shape)
    pull = ridge * np.diag(gram).mean()
    for row, support in enumerate(keep.numpy()):
        a = gram[np.ix_(support, support)] + pull * np.eye(support.sum())
        out[row, support] = np.linalg.solve(a, x[:, support].T @ target[:, row] + pull * start[row, support])
    return out


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 6),
    n=st.integers(2, 12),
    ridge=st.sampled_from([0.01, 0.3]),
)
def test_every_row_is_its_closed_form(seed, rows, n, ridge):
    x, target, keep, start = problem(seed, rows, n, 4 * n)
    found = solve_on_support(x.T @ x, target.T @ x, keep, start, ridge=ridge, steps=60)
    np.testing.assert_allclose(found.numpy(), closed_form(x, target, keep, start, ridge), atol=2e-3)
    assert not found[~keep].any()


def test_fewer_tokens_than_inputs_is_settled_by_the_ridge():
    x, target, keep, start = problem(0, 3, 20, 5)
    found = solve_on_support(x.T @ x, target.T @ x, keep, start, ridge=0.1, steps=100)
    np.testing.assert_allclose(found.numpy(), closed_form(x, target, keep, start, 0.1), atol=2e-3)


def test_a_dead_input_keeps_its_weight_and_nothing_is_nan():
    x, target, keep, start = problem(1, 4, 8, 50)
    x[:, 3] = 0
    found = solve_on_support(x.T @ x, target.T @ x, keep, start)
    assert found.isfinite().all()
    torch.testing.assert_close(found[:, 3], start[:, 3] * keep[:, 3])


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_more_steps_never_raise_the_error(steps):
    x, target, keep, start = problem(2, 5, 16, 100)
    gram, cross = x.T @ x, target.T @ x
    few = solve_on_support(gram, cross, keep, start, ridge=1e-6, steps=steps)
    more = solve_on_support(gram, cross, keep, start, ridge=1e-6, steps=steps + 5)
    assert squared_error(more, gram, cross) <= squared_error(few, gram, cross) + 1e-3
    assert squared_error(few, gram, cross) < squared_error(start * keep, gram, cross)
