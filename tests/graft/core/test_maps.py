import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import Ridge

from digsite.graft.core.maps import (
    assign_units,
    fit_quality,
    fit_ridge,
    fit_rotation,
    match_by_activations,
    match_by_weights,
    permute_units,
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
