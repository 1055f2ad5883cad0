from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from digsite.prune.core.patterns import SparsityPattern
from digsite.prune.core.repair import maps
from digsite.prune.core.repair.maps import refine_mask, solve_on_support, squared_error


def case(seed, rows=6, n=8):
    g = torch.Generator().manual_seed(seed)
    weight, x = torch.randn(rows, n, generator=g), torch.randn(40, n, generator=g)
    x = x @ torch.randn(n, n, generator=g)
    return weight, x.T @ x, torch.rand(rows, n, generator=g).argsort(1) < n // 2


def error(weight, keep, gram):
    lost = (weight * ~keep).double()
    return (lost @ gram.double() * lost).sum(1)


def test_one_swap_is_the_best_swap():
    """Brute force over all exchanges of every row."""
    weight, gram, keep = case(0)
    refined, made = refine_mask(weight, keep, gram, SparsityPattern(0.5), max_swaps=1)
    for row in range(len(weight)):
        best = error(weight[row : row + 1], keep[row : row + 1], gram)[0]
        for back in (~keep[row]).nonzero().flatten():
            for out in keep[row].nonzero().flatten():
                other = keep[row].clone()
                other[back], other[out] = True, False
                best = torch.minimum(best, error(weight[row : row + 1], other[None], gram)[0])
        torch.testing.assert_close(
            error(weight[row : row + 1], refined[row : row + 1], gram)[0], best, rtol=1e-5, atol=1e-8
        )
    assert made <= len(weight)


def test_refinement_never_hurts_and_keeps_counts(monkeypatch):
    weight, gram, keep = case(1, rows=9, n=16)
    monkeypatch.setattr(maps, "PAIR_BUDGET", 600)  # several blocks of rows
    refined, made = refine_mask(weight, keep, gram, SparsityPattern(0.5))
    before, after = error(weight, keep, gram), error(weight, refined, gram)
    assert made > 0 and (after <= before * (1 + 1e-6)).all() and after.sum() < 0.9 * before.sum()
    assert (refined.sum(1) == keep.sum(1)).all()


def test_groups_exchange_only_inside_themselves():
    weight, gram, _ = case(2, rows=5, n=12)
    keep = torch.tensor([True, True, False, False] * 3).repeat(5, 1)
    refined, made = refine_mask(weight, keep, gram, SparsityPattern(0.5, 2, 4))
    assert made > 0 and (refined.view(5, 3, 4).sum(-1) == 2).all()
    assert (error(weight, refined, gram) <= error(weight, keep, gram) * (1 + 1e-6)).all()


def test_a_tiny_row_reaches_the_optimum():
    weight, gram, keep = case(3, rows=12, n=4)
    refined, _ = refine_mask(weight, keep, gram, SparsityPattern(0.5))
    every = [torch.tensor([i in pair for i in range(4)]) for pair in combinations(range(4), 2)]
    best = torch.stack([error(weight, mask.expand(12, 4), gram) for mask in every]).amin(0)
    assert (
        error(weight, refined, gram) <= best * (1 + 1e-5)
    ).float().mean() > 0.7  # one-swap optima are nearly all global here


def test_a_row_is_left_alone_only_when_no_exchange_helps(monkeypatch):
    """Whatever was weighed first: with one promising input on either side, most rows need the whole search."""
    monkeypatch.setattr(maps, "PROMISING", 1)
    weight, gram, keep = case(4, rows=5, n=12)
    refined, made = refine_mask(weight, keep, gram, SparsityPattern(0.5))
    again, more = refine_mask(weight, refined, gram, SparsityPattern(0.5), max_swaps=1)
    assert made > 5 and more == 0 and torch.equal(again, refined)
    after = error(weight, refined, gram)
    for row, (back, out) in (
        (r, pair) for r in range(5) for pair in ((b, o) for b in range(12) for o in range(12))
    ):
        if not refined[row, back] and refined[row, out]:
            other = refined[row].clone()
            other[back], other[out] = True, False
            assert error(weight[row : row + 1], other[None], gram)[0] >= after[row] * (1 - 1e-5)


def test_rows_with_nothing_pruned_or_nothing_kept_are_left_alone():
    weight, gram, keep = case(5)
    for state in (True, False):
        keep[:] = state
        refined, made = refine_mask(weight, keep, gram, SparsityPattern(0.5))
        assert made == 0 and (refined == state).all()


# The solver against the closed form of every row, in float64 and by numpy.


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
