import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.decompose.core import sigmoids

NUMBERS = st.floats(-5, 5).filter(lambda x: abs(x) > 1e-6 and abs(x - 1) > 1e-6)


@given(NUMBERS)
def test_lower_leaky_is_the_clamp_with_a_leaking_gradient(x):
    value = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    found = sigmoids.lower_leaky(value)
    found.backward()
    assert found.item() == min(max(x, 0), 1)
    assert value.grad is not None
    assert value.grad.item() == pytest.approx(0.01 if x < 0 else 1 if x < 1 else 0)


@given(NUMBERS)
def test_upper_leaky_leaks_above_one(x):
    assert sigmoids.upper_leaky(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(
        0 if x < 0 else x if x < 1 else 1 + 0.01 * (x - 1)
    )


@pytest.mark.parametrize("name", sigmoids.PAIRS)
def test_every_pair_goes_from_zero_to_one(name):
    lower, upper = sigmoids.pair(name)
    ends = torch.tensor([-8.0, 8.0])
    for squash in (lower, upper):
        assert torch.allclose(squash(ends), torch.tensor([0.0, 1.0]), atol=0.09)


def test_an_unknown_name_is_answered():
    with pytest.raises(UsageError, match="'leaky_hard'"):
        sigmoids.pair("leaky_hardd")
