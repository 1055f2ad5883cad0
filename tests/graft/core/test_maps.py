from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import Ridge

from digsite.graft.core.maps import (
    assign_units,
    carry_widths,
    fit_quality,
    fit_ridge,
    fit_rotation,
    match_by_activations,
    match_by_weights,
    permute_units,
    transport_units,
)
from digsite.graft.core.nets import collect_acts, make_plain_net


@given(st.integers(0, 500), st.integers(1, 6), st.integers(1, 4))
def test_ridge_is_scikit_learns(seed, d_in, d_out):
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(40, d_in, generator=draw) + 2, torch.randn(40, d_out, generator=draw)
    centered = (x - x.mean(0)).double()
    alpha = 0.3 * float((centered.T @ centered).diagonal().mean())
    oracle = Ridge(alpha=alpha).fit(x.double().numpy(), y.double().numpy())
    found = fit_ridge(x, y, 0.3)
    np.testing.assert_allclose(
        found(x).numpy(), oracle.predict(x.double().numpy()).reshape(40, d_out), atol=1e-4
    )


@given(st.integers(0, 500))
def test_rotation_is_scipys_procrustes(seed):
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(30, 5, generator=draw), torch.randn(30, 5, generator=draw)
    oracle, _ = orthogonal_procrustes(x.double().numpy(), y.double().numpy())
    found = fit_rotation(x, y, centered=False)
    np.testing.assert_allclose(found.weight.numpy(), oracle.T, atol=1e-3)
    torch.testing.assert_close(found.weight @ found.weight.T, torch.eye(5), atol=1e-4, rtol=0)


def test_a_known_rotation_comes_back_and_its_transpose_does_not():
    q, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    found = fit_rotation(x, x @ q.T)
    assert fit_quality(x @ q.T, found(x)) > 0.999
    assert fit_quality(x @ q.T, x @ found.weight) < 0.9  # the published use of it


def test_rows_carried_over_read_the_same():
    x = torch.randn(50, 6)
    carry = fit_ridge(x, x @ torch.randn(6, 4), 1e-6)
    rows, bias = torch.randn(2, 4), torch.randn(2)
    weight, offset = carry.carry_rows(rows, bias)
    torch.testing.assert_close(x @ weight.T + offset, carry(x) @ rows.T + bias, atol=1e-4, rtol=1e-4)


def made(seed: int = 0):
    draw = torch.Generator().manual_seed(seed)
    sizes = [(12, 8), (10, 12), (4, 10)]
    return [torch.randn(s, generator=draw) for s in sizes], [torch.randn(s[0], generator=draw) for s in sizes]


def shuffled(weights, biases):
    orders = [torch.randperm(len(w), generator=torch.Generator().manual_seed(5)) for w in weights[:-1]]
    return orders, permute_units(weights, biases, orders)


def test_a_permuted_network_is_the_same_function():
    weights, biases = made()
    _, (w, b) = shuffled(weights, biases)
    x = torch.randn(30, 8)
    torch.testing.assert_close(
        make_plain_net(w, b)(x), make_plain_net(weights, biases)(x), atol=1e-4, rtol=1e-4
    )


def test_weights_alone_undo_a_permutation():
    weights, biases = made()
    _, (w, b) = shuffled(weights, biases)
    back, _ = permute_units(w, b, match_by_weights(weights, w, draw=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(back, weights)


def test_activations_undo_a_permutation():
    weights, biases = made()
    _, (w, b) = shuffled(weights, biases)
    x = torch.randn(300, 8)
    orders = match_by_activations(
        collect_acts(make_plain_net(weights, biases), x).hidden, collect_acts(make_plain_net(w, b), x).hidden
    )
    back, _ = permute_units(w, b, orders)
    torch.testing.assert_close(back, weights)


def test_assign_takes_the_best_total():
    assert assign_units(torch.tensor([[3.0, 2.0], [2.9, 0.0]])).tolist() == [1, 0]


@given(seed=st.integers(0, 1000), n=st.integers(1, 7))
def test_transport_between_equal_widths_is_an_assignment(seed, n):
    score = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    plan, pairs = transport_units(score), assign_units(score)
    assert float((plan * score).sum()) * n == pytest.approx(
        float(score[torch.arange(n), pairs].sum()), abs=1e-9
    )


@given(seed=st.integers(0, 1000), rows=st.integers(1, 6), columns=st.integers(1, 6))
def test_a_plan_shares_out_all_mass_and_no_other_does_better(seed, rows, columns):
    """Rows and columns repeated to their common multiple make it an assignment, which scipy solves by another way."""
    score = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    plan = transport_units(score)
    torch.testing.assert_close(plan.sum(1), torch.full((rows,), 1 / rows, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(0), torch.full((columns,), 1 / columns, dtype=torch.float64))
    common = np.lcm(rows, columns)
    big = score.repeat_interleave(common // rows, 0).repeat_interleave(common // columns, 1)
    best = float(big[torch.arange(common), assign_units(big)].sum()) / common
    assert float((plan * score).sum()) == pytest.approx(best, abs=1e-9)


@given(seed=st.integers(0, 200), copies=st.integers(1, 3))
def test_a_chain_whose_units_were_multiplied_comes_back(seed, copies):
    g = torch.Generator().manual_seed(seed)
    sizes = [5, 6, 4, 3]
    weights = [torch.randn(o, i, generator=g) for i, o in pairwise(sizes)]
    biases = [torch.randn(o, generator=g) for o in sizes[1:]]
    wide_w, wide_b, x = (
        [w.clone() for w in weights],
        [b.clone() for b in biases],
        torch.randn(40, 5, generator=g),
    )
    for i, width in enumerate(sizes[1:-1]):
        order = torch.randperm(width * copies, generator=g)
        wide_w[i] = wide_w[i].repeat_interleave(copies, 0)[order]
        wide_b[i] = wide_b[i].repeat_interleave(copies)[order]
        wide_w[i + 1] = wide_w[i + 1].repeat_interleave(copies, 1)[:, order] / copies
    small, large = make_plain_net(weights, biases), make_plain_net(wide_w, wide_b)
    torch.testing.assert_close(large(x), small(x), rtol=1e-4, atol=1e-4)
    ours, theirs = (collect_acts(net, x).hidden for net in (small, large))
    plans = [transport_units(-torch.cdist(a.T, b.T)) for a, b in zip(ours, theirs, strict=True)]
    back = make_plain_net(
        *carry_widths(wide_w, wide_b, plans)
    )  # units that are never on are not told apart, and do nothing
    torch.testing.assert_close(back(x), small(x), rtol=1e-4, atol=1e-4)
