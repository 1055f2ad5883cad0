import pytest
import torch

import digsite.prune as public
from digsite.base.errors import UsageError
from digsite.prune.core.matrix import prune_matrix, relative_error

G = torch.Generator().manual_seed(0)
W, X = torch.randn(8, 12, generator=G), torch.randn(3, 30, 12, generator=G)


def test_the_relative_error_is_that_of_the_outputs():
    found = public.prune_matrix(W, X, method="wanda", sparsity=0.5)
    x = X.reshape(-1, 12).double()
    out, change = x @ W.double().T, x @ (W - found.weight).double().T
    assert found.relative_error == pytest.approx(float((change**2).sum() / (out**2).sum()), rel=1e-4)
    assert relative_error(W, W, torch.eye(12)) == 0.0


def test_swaps_lower_the_error_and_are_told():
    plain, better = (prune_matrix(W, X, "wanda", 0.5, swap=s) for s in (0, 50))
    assert better.relative_error < plain.relative_error and better.note.endswith("swaps")
    assert (better.keep.sum(1) == plain.keep.sum(1)).all()


def test_magnitude_needs_no_inputs():
    assert prune_matrix(W, None, "magnitude", 0.25).relative_error is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": W[0]}, "weight' must have 2 axes, not 1"),
        ({"weight": W / 0}, "weight' holds NaN or infinite"),
        ({"inputs": None}, "looks at inputs, and none were given"),
        ({"inputs": None, "method": "magnitude", "swap": 3}, "with swaps looks at inputs"),
        ({"inputs": X[..., :5]}, "has 12 inputs, but the given inputs have 5"),
        ({"method": "wnada"}, "no pruning method 'wnada'. Did you mean 'wanda'"),
        ({"sparsity": 1.2}, "outside"),
        ({"pattern": "2:5"}, "2:5 does not divide the 12 inputs"),
        ({"inputs": X * torch.nan}, "inputs' holds NaN or infinite"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        prune_matrix(**{"weight": W, "inputs": X, "method": "wanda"} | arguments)


def test_public_names_are_there_and_others_are_not():
    assert all(callable(getattr(public, name)) for name in public.__all__)
    with pytest.raises(AttributeError, match="no attribute 'prune_all'"):
        _ = public.prune_all
