"""Layers answered by parts that add up to their matrix give the model's own output."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers.pytorch_utils import Conv1D

from digsite.base.errors import UsageError
from digsite.decompose.core.target import (
    Early,
    Products,
    Site,
    Target,
    check_deterministic,
    find_sites,
    pick_output,
)


def conv() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4))


def text() -> nn.Module:
    return nn.Sequential(nn.Embedding(11, 6), Conv1D(5, 6), nn.Tanh(), nn.Linear(5, 3))


MODELS = {
    "dense": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(7, 4)),
    "conv": (conv, torch.randn(7, 2, 6, 6)),
    "text": (text, torch.randint(11, (7, 9))),
}
PATTERNS = {"dense": ["0", "2"], "conv": ["0", "3"], "text": ["0", "1", "3"]}


@pytest.mark.parametrize("name", MODELS)
def test_parts_that_add_up_change_nothing(name):
    make, x = MODELS[name]
    model = make().double() if x.is_floating_point() else make()
    x = x.double() if x.is_floating_point() else x
    patterns = PATTERNS[name]
    target = Target(model, patterns)

    def plug(site, value, shift=0.0):
        u, s, vh = torch.linalg.svd(site.get_matrix(), full_matrices=False)
        return site.layer.finish_output(site.module, site.read_inner(value, u * s) @ vh + shift)

    expected = model(x)
    torch.testing.assert_close(
        target(None, x, dict.fromkeys(target.sites, plug)), expected, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(target(None, x), expected)
    moved = target(None, x, {patterns[-1]: lambda site, value: plug(site, value, 1.0)})
    torch.testing.assert_close(moved, expected + 1, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_assigning_a_matrix_and_reading_it_back(name):
    model = MODELS[name][0]()
    for site in find_sites(model, PATTERNS[name]):
        wanted = torch.randn_like(site.get_matrix())
        site.layer.write_matrix(site.module, wanted)
        torch.testing.assert_close(site.get_matrix(), wanted)


def test_an_identity_before_a_layer_is_a_site_of_its_own():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    target, x = Target(model, ["0"], identity=["2"]), torch.randn(5, 4)
    assert list(target.sites) == ["0", "2.pre_identity"]
    assert torch.equal(target.sites["2.pre_identity"].get_matrix(), torch.eye(3))
    doubled = target(None, x, {"2.pre_identity": lambda site, value: 2 * value})
    torch.testing.assert_close(doubled, model[2](2 * model[1](model[0](x))))


def test_plugs_are_gone_after_a_call_and_after_an_error():
    target, x = Target(nn.Sequential(nn.Linear(4, 3)), ["0"]), torch.randn(5, 4)
    before = target(None, x)
    with pytest.raises(ZeroDivisionError):
        target(None, x, {"0": lambda site, value: 1 / 0})
    assert torch.equal(target(None, x), before)


def test_outputs_are_picked_by_attribute_or_number():
    class Output:
        logits = torch.ones(2)

    assert torch.equal(pick_output(Output(), "logits"), torch.ones(2))
    assert torch.equal(pick_output((1, torch.zeros(2)), "idx_1"), torch.zeros(2))
    with pytest.raises(UsageError, match="logits"):
        pick_output(Output(), "")


@given(st.integers(0, 10_000))
def test_sums_of_products_multiply_like_the_matrix_they_stand_for(seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    a, b, c, d, weight, rows = draw(5, 2), draw(2, 7), draw(5, 3), draw(3, 7), draw(7, 4), draw(5, 1)
    total = Products(((a, b),)) + Products(((c, d),))
    torch.testing.assert_close(total @ weight, (a @ b + c @ d) @ weight)
    torch.testing.assert_close((total * rows).write_out(), (a @ b + c @ d) * rows)


class Block(nn.Module):
    """Remembers something of what it read last."""

    def __init__(self):
        super().__init__()
        self.dense, self.note = nn.Linear(4, 4), torch.zeros(4)

    def forward(self, x):
        self.note = x.mean((0, 1))
        return x + self.dense(x).tanh()


class Tower(nn.Module):
    """Blocks above each other; `on_the_side` they tell the head something besides."""

    def __init__(self, on_the_side: bool = False):
        super().__init__()
        self.embed, self.head, self.on_the_side = nn.Embedding(7, 4), nn.Linear(4, 7), on_the_side
        self.blocks = nn.ModuleList(Block() for _ in range(4))

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x + self.blocks[0].note if self.on_the_side else x)


@pytest.mark.parametrize(
    ("site", "kept"), [("blocks.2.dense", 2), ("blocks.0.dense", 0), ("embed", 0), ("head", 4)]
)
def test_blocks_before_the_first_site_run_once(site, kept):
    torch.manual_seed(0)
    ids, model = torch.randint(7, (5, 3)), Tower().eval()
    target = Target(model, [site])
    check_deterministic(target, ids)
    assert target.replays == (kept > 0)
    early, own = Early(), {site: Site.answer_itself}
    wanted = model(ids)
    assert torch.equal(target(None, ids, own, early), wanted) and len(early.outputs) == kept
    for i in range(kept):  # whoever runs again would give something else
        target.model.blocks[i].dense.weight.data.zero_()
    assert torch.equal(target(None, ids, own, early), wanted)
    assert kept == 0 or not torch.equal(target(None, ids, own), wanted)
    halved = {site: lambda s, x: 0.5 * s.answer_itself(x)}
    assert not torch.equal(target(None, ids, halved, early), wanted)


def test_blocks_that_speak_on_the_side_always_run():
    target = Target(Tower(on_the_side=True).eval(), ["blocks.2.dense"])
    check_deterministic(target, torch.randint(7, (5, 3)))
    assert not target.replays
