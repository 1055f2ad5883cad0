"""One contract for every gate, and the closed forms of the cheap ones."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from digsite.base.errors import UsageError
from digsite.decompose.config import GATES
from digsite.decompose.core import masks
from digsite.decompose.core.gates import Shape
from digsite.decompose.core.gates.networks import Mlp

SHAPES = {"a": Shape(6, 4, 5), "b": Shape(4, 3, 7)}


def draw(name: str, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def example(lead: tuple[int, ...] = (8,)):
    inputs = {s: draw(f"x{s}", *lead, shape.d_in) for s, shape in SHAPES.items()}
    return {s: draw(f"h{s}", *lead, shape.n) for s, shape in SHAPES.items()}, inputs


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("lead", [(8,), (3, 5)])
def test_every_gate_gives_one_logit_per_component_and_learns(kind, lead):
    settings = GATES[kind]()
    params = {k: v.requires_grad_() for k, v in settings.draw_params(SHAPES, draw).items()}
    inner, inputs = example(lead)
    found = settings.compute_logits(params, inner, inputs)
    assert {s: v.shape for s, v in found.items()} == {s: v.shape for s, v in inner.items()}
    sum(v.sin().sum() for v in found.values()).backward()
    constant = "/unit"  # the scale of an activation is taken from data, not learned
    assert all(p.grad is not None for name, p in params.items() if not name.endswith(constant))


@pytest.mark.parametrize("kind", [k for k in GATES if not k.startswith("global")])
def test_local_gates_look_at_one_position(kind):
    settings = GATES[kind]()
    params = settings.draw_params(SHAPES, draw)
    inner, inputs = example()
    whole = settings.compute_logits(params, inner, inputs)
    part = settings.compute_logits(
        params, {s: v[2:4] for s, v in inner.items()}, {s: v[2:4] for s, v in inputs.items()}
    )
    for site in whole:
        torch.testing.assert_close(whole[site][2:4], part[site])


def test_the_mlp_gate_is_the_einsum_that_it_replaces():
    settings = Mlp(hidden=[4, 3])
    params = {k: v + 0.1 for k, v in settings.draw_params(SHAPES, draw).items()}
    inner, inputs = example()
    found = settings.compute_logits(params, inner, inputs)["a"]
    x = F.gelu(torch.einsum("bc,ch->bch", inner["a"], params["a/w0"][:, 0]) + params["a/b0"])
    x = F.gelu(torch.einsum("bch,chk->bck", x, params["a/w1"]) + params["a/b1"])
    torch.testing.assert_close(found, torch.einsum("bch,ch->bc", x, params["a/out"]) + params["a/bias"])


def test_tabulated_gates_are_close_and_get_closer():
    inner, inputs = example((4000,))
    params = Mlp().draw_params(SHAPES, draw)
    exact = Mlp().compute_logits(params, inner, inputs)["a"]
    gaps = [(Mlp(nodes=n).compute_logits(params, inner, inputs)["a"] - exact).abs().max() for n in (64, 256)]
    assert (
        gaps[1] < 2e-3
    )  # the range is seven standard deviations here; error falls with the square of the spacing
    assert gaps[1] < gaps[0] / 8


def test_what_is_not_a_number_stays_none_in_a_table():
    """A rate that explodes once ended in "index -9223372036854775808 is out of bounds" instead of its own sentence."""
    inner, inputs = example((20,))
    params = Mlp().draw_params(SHAPES, draw)
    inner["a"][3] = torch.nan
    assert Mlp(nodes=64).compute_logits(params, inner, inputs)["a"].isnan().any()


def test_jitter_spreads_logits_upward_and_down():
    found = masks.squash_logits(
        {"a": torch.full((2, 2), 0.5)}, "leaky_hard", {"a": torch.tensor([[0.0, 1.0]] * 2)}
    )
    torch.testing.assert_close(found.lower["a"][0], torch.tensor([0.525, 0.475]))


# --- sigmoids -----------------------------------------------------------------------------------------------

NUMBERS = st.floats(-5, 5).filter(lambda x: abs(x) > 1e-6 and abs(x - 1) > 1e-6)


@given(NUMBERS)
def test_lower_leaky_is_the_clamp_with_a_leaking_gradient(x):
    value = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    found = masks.leak_gradient(value)
    found.backward()
    assert found.item() == min(max(x, 0), 1)
    assert value.grad is not None
    assert value.grad.item() == pytest.approx(0.01 if x < 0 else 1 if x < 1 else 0)


@given(NUMBERS)
def test_upper_leaky_leaks_above_one(x):
    assert masks.leak_above(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(
        0 if x < 0 else x if x < 1 else 1 + 0.01 * (x - 1)
    )


@pytest.mark.parametrize("name", masks.SIGMOIDS)
def test_every_pair_goes_from_zero_to_one(name):
    lower, upper = masks.find_sigmoids(name)
    ends = torch.tensor([-8.0, 8.0])
    for squash in (lower, upper):
        assert torch.allclose(squash(ends), torch.tensor([0.0, 1.0]), atol=0.09)


def test_an_unknown_name_is_answered():
    with pytest.raises(UsageError, match="'leaky_hard'"):
        masks.find_sigmoids("leaky_hardd")
