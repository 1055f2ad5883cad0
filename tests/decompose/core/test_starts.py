"""Every start of parts: shapes, whether they add up, and what the sparse one is for."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from digsite.base.families import scan_family
from digsite.decompose.core.starts import PACKAGE, Seen, find_start, numerical_rank
from digsite.decompose.core.starts.known import count_active, rotate_to_sparse

STARTS = scan_family(PACKAGE)


def seen(matrix: torch.Tensor, n: int, inputs: torch.Tensor) -> Seen:
    generator = torch.Generator().manual_seed(0)
    return Seen(matrix, n, lambda name, *shape: torch.randn(shape, generator=generator), lambda v: inputs @ v)


@pytest.mark.parametrize("scheme", STARTS)
@given(d_in=st.integers(1, 7), d_out=st.integers(1, 7), rank=st.integers(0, 4), seed=st.integers(0, 50))
@limits(max_examples=15, deadline=None)
def test_parts_have_their_shapes_and_add_up_where_they_say_so(scheme, d_in, d_out, rank, seed):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(d_in, rank, generator=generator) @ torch.randn(rank, d_out, generator=generator)
    n = max(d_in, d_out)
    v, u = find_start(scheme).make_parts(seen(matrix, n, torch.randn(40, d_in, generator=generator)))
    assert v.shape == (d_in, n) and u.shape == (n, d_out)
    if STARTS[scheme].ADDS_UP:
        torch.testing.assert_close(v @ u, matrix, atol=1e-4, rtol=1e-4)


def test_equal_singular_values_are_turned_to_what_is_active_alone():
    """A rotated identity has no singular vectors of its own; inputs that come one at a time single them out."""
    basis = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))[0]
    inputs = basis[torch.randint(6, (300,), generator=torch.Generator().manual_seed(2))]
    v, _ = find_start("sparse").make_parts(seen(torch.eye(6), 6, inputs))
    assert count_active((inputs @ v).double()) == pytest.approx(1.0)
    plain, _ = find_start("singular").make_parts(seen(basis @ torch.diag(torch.ones(6)) @ basis.T, 6, inputs))
    assert count_active((inputs @ plain).double()) > 2
    torch.testing.assert_close((v.T @ basis.T).abs().amax(1), torch.ones(6), atol=1e-4, rtol=0)


def test_a_constant_is_split_from_what_varies():
    """One neuron reads a constant and a variable: two directions of which only data can say which is which."""
    basis = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(3)))[0]
    level = torch.rand(200, 1, generator=torch.Generator().manual_seed(4))
    inputs = basis[0] + level * basis[1]
    mixed = torch.tensor([[3.0, 1.0, 2.0], [1.0, 2.0, -1.0]])
    v, _ = find_start("sparse").make_parts(seen(basis[:2].T @ mixed, 2, inputs))
    alignment = (v.T @ basis[:2].T).abs()
    torch.testing.assert_close(alignment.amax(1), torch.ones(2), atol=1e-3, rtol=0)


def test_a_rotation_of_sparse_numbers_is_undone():
    generator = torch.Generator().manual_seed(0)
    plain = torch.randn(500, 4, generator=generator).double() * (
        torch.rand(500, 4, generator=generator) < 0.1
    )
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    found = plain @ turn @ rotate_to_sparse(plain @ turn)
    assert count_active(found) < 1.15 * count_active(plain)


def test_rounding_errors_are_no_rank():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(20, 3, generator=generator) @ torch.randn(3, 30, generator=generator)
    assert numerical_rank(matrix) == 3 == torch.linalg.matrix_rank(matrix)
    assert numerical_rank(torch.zeros(4, 4)) == 0
