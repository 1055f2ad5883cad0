import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import Ridge

from digsite.graft.core.maps import fit_quality, ridge, rotation


@given(st.integers(0, 500), st.integers(1, 6), st.integers(1, 4))
def test_ridge_is_scikit_learns(seed, d_in, d_out):
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(40, d_in, generator=draw) + 2, torch.randn(40, d_out, generator=draw)
    centered = (x - x.mean(0)).double()
    alpha = 0.3 * float((centered.T @ centered).diagonal().mean())
    oracle = Ridge(alpha=alpha).fit(x.double().numpy(), y.double().numpy())
    found = ridge(x, y, 0.3)
    np.testing.assert_allclose(
        found(x).numpy(), oracle.predict(x.double().numpy()).reshape(40, d_out), atol=1e-4
    )


@given(st.integers(0, 500))
def test_rotation_is_scipys_procrustes(seed):
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(30, 5, generator=draw), torch.randn(30, 5, generator=draw)
    oracle, _ = orthogonal_procrustes(x.double().numpy(), y.double().numpy())
    found = rotation(x, y, centered=False)
    np.testing.assert_allclose(found.weight.numpy(), oracle.T, atol=1e-3)
    torch.testing.assert_close(found.weight @ found.weight.T, torch.eye(5), atol=1e-4, rtol=0)


def test_a_known_rotation_comes_back_and_its_transpose_does_not():
    q, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    found = rotation(x, x @ q.T)
    assert fit_quality(x @ q.T, found(x)) > 0.999
    assert fit_quality(x @ q.T, x @ found.weight) < 0.9  # the published use of it


def test_rows_carried_over_read_the_same():
    x = torch.randn(50, 6)
    carry = ridge(x, x @ torch.randn(6, 4), 1e-6)
    rows, bias = torch.randn(2, 4), torch.randn(2)
    weight, offset = carry.then_rows(rows, bias)
    torch.testing.assert_close(x @ weight.T + offset, carry(x) @ rows.T + bias, atol=1e-4, rtol=1e-4)
