"""The contract of the family: masks are kept, errors fall, and a model that was not pruned is left as it is."""

import numpy as np
import pytest
import torch

from digsite.base import families
from digsite.base.errors import UsageError
from digsite.prune.core import layers
from digsite.prune.core.matrix import prune_matrix
from digsite.prune.core.model import Recipe, prune_model
from digsite.prune.core.patterns import parse_pattern
from digsite.prune.core.repair import FAMILY, RepairSettings, level_of, repair_named
from digsite.prune.core.repair.sub_block import find_writers
from digsite.prune.core.two_streams import Passage, groups_of_readers, walk_both
from digsite.prune.judge.cost import say_result

REPAIRS = families.list_members(FAMILY)
QUICK = RepairSettings(epochs=2, rows=2, learning_rate=1e-3, every=2)


@pytest.fixture
def trained(llama, tokens):
    """Random weights with a spread of sizes: pruning hurts, and there is something to repair."""

    def make():
        model = llama()
        with torch.no_grad():
            g = torch.Generator().manual_seed(5)
            for one in layers.all_maps(model):
                one.module.weight.copy_(torch.randn(one.weight.shape, generator=g) * 0.3)
        return model

    return make


@pytest.mark.parametrize("pattern", [parse_pattern(0.5), parse_pattern(pattern="2:4")], ids=str)
@pytest.mark.parametrize("name", REPAIRS)
def test_every_repair_keeps_what_is_pruned_at_zero(trained, tokens, name, pattern):
    model, costs = trained(), {}
    ledger = prune_model(
        model, tokens(), Recipe("wanda", pattern, repair=(name,), repair_settings=QUICK), costs=costs
    )
    plain = {one.name: one for one in prune_model(trained(), tokens(), Recipe("wanda", pattern))}
    for line in ledger:
        weight = model.get_submodule(line.name).weight
        assert torch.equal(weight != 0, line.keep) and weight.isfinite().all()
        assert line.keep.sum() == plain[line.name].keep.sum()
        if pattern.structured:
            assert (line.keep.view(len(line.keep), -1, 4).sum(-1) == 2).all()
    assert costs["mask"] > 0 and (level_of(name) == "map" or costs[name] > 0)


@pytest.mark.parametrize("name", [name for name in REPAIRS if name != "admm"])
def test_a_repair_brings_the_model_nearer_to_the_dense_one(trained, tokens, name):
    batch = tokens(12)

    def distance(recipe: Recipe) -> float:
        model = trained()
        prune_model(model, batch, recipe)
        with torch.no_grad():
            return float((model(batch) - trained()(batch)).square().mean())

    settings = RepairSettings(epochs=8, rows=4, learning_rate=3e-3)
    repaired = Recipe("magnitude", parse_pattern(0.5), repair=(name,), repair_settings=settings)
    assert distance(repaired) < distance(Recipe("magnitude", parse_pattern(0.5)))


@pytest.mark.parametrize("name", [name for name in REPAIRS if level_of(name) != "map" and name != "admm"])
def test_a_model_that_was_not_pruned_is_left_alone(trained, tokens, name):
    model, before = trained(), trained()
    everything = {one.name: np.ones(tuple(one.weight.shape), bool) for one in layers.all_maps(model)}
    prune_model(model, tokens(), Recipe("magnitude", repair=(name,), repair_settings=QUICK), masks=everything)
    for a, b in zip(model.parameters(), before.parameters(), strict=True):
        # Adam makes a step of any size out of rounding, so a few thousandths are what "nothing" looks like.
        torch.testing.assert_close(a, b, rtol=1e-4, atol=5e-3 if name == "masked_distillation" else 1e-4)


def test_masks_and_weights_without_repairs_are_those_of_the_plain_walk(trained, tokens, monkeypatch):
    """The second stream must not change what the first one sees; it takes sequences one at a time, so both do here."""
    monkeypatch.setattr("digsite.prune.core.walk.AT_ONCE", 1)
    model, other = trained(), trained()
    first, both = layers.list_blocks(model), []
    ledger = prune_model(other, tokens(), Recipe("sparsegpt"))
    del ledger

    def visit(passage: Passage, statistics) -> None:
        for one in passage.block.maps:
            one.replace(prune_matrix(one.weight, statistics[one.name], "sparsegpt", 0.5).weight)
        both.append(passage.dense_outputs)

    walk_both(model, first, tokens(), visit)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_dense_stream_is_the_dense_model(trained, tokens):
    """What the second stream says after the last block is what the model says there before pruning."""
    model, dense, seen, wanted = trained(), trained(), [], []
    dense.model.layers[1].register_forward_hook(lambda _m, _a, out: wanted.append(out.detach()))
    with torch.no_grad():
        dense(tokens())

    def visit(passage: Passage, _statistics) -> None:
        for one in passage.block.maps:
            one.replace(torch.zeros_like(one.weight))
        seen.append(torch.cat(passage.dense_outputs))

    walk_both(model, layers.list_blocks(model), tokens(), visit)
    torch.testing.assert_close(seen[1], wanted[0], rtol=1e-4, atol=1e-5)


def test_the_maps_that_write_into_the_stream_are_found_without_their_names(trained, tokens):
    found, groups = [], []

    def visit(passage: Passage, _statistics) -> None:
        found.append(find_writers(passage, {one.name: one.weight for one in passage.block.maps}))
        groups.append(
            [[layers.component_of(one.name) for one in group] for group in groups_of_readers(passage)]
        )

    model = trained()
    walk_both(model, layers.list_blocks(model), tokens(), visit)
    assert {layers.component_of(name) for name in found[0]} == {"self_attn.o_proj", "mlp.down_proj"}
    assert [sorted(group) for group in groups[0]] == [
        ["self_attn.k_proj", "self_attn.q_proj", "self_attn.v_proj"],
        ["self_attn.o_proj"],
        ["mlp.gate_proj", "mlp.up_proj"],
        ["mlp.down_proj"],
    ]


def test_a_plain_network_is_repaired_map_by_map(mlp):
    x = torch.randn(60, 12, generator=torch.Generator().manual_seed(0))
    recipe = Recipe("magnitude", parse_pattern(0.5), repair=("sub_block",))
    ledger = prune_model(mlp, x, recipe)
    assert all(torch.equal(mlp.get_submodule(one.name).weight != 0, one.keep) for one in ledger)


def test_one_matrix_takes_the_repairs_of_single_maps():
    g = torch.Generator().manual_seed(3)
    weight, x = torch.randn(10, 24, generator=g), torch.randn(2, 60, 24, generator=g)
    plain = prune_matrix(weight, x, "wanda", 0.6)
    better = prune_matrix(weight, x, "wanda", 0.6, repair=["least_squares"])
    swapped = prune_matrix(weight, x, "wanda", 0.6, repair=["swaps", "least-squares"])
    assert torch.equal(plain.keep, better.keep)
    assert swapped.relative_error < better.relative_error < plain.relative_error


def test_too_few_tokens_are_said():
    g = torch.Generator().manual_seed(3)
    done = prune_matrix(
        torch.randn(4, 24, generator=g),
        torch.randn(8, 24, generator=g),
        "wanda",
        0.5,
        repair=["least_squares"],
    )
    assert "under-determined: 8 tokens" in done.note and done.weight.isfinite().all()


def test_too_few_tokens_are_said_of_a_block_too(llama, tokens):
    """And once for all maps in the summary."""
    ledger = prune_model(llama(), tokens(1), Recipe("wanda", repair=("sub_block",)))
    short = [line for line in ledger if line.mask.n_bits > tokens(1).numel()]
    assert short and all(("under-determined" in line.note) == (line in short) for line in ledger)
    assert [line for line in say_result(ledger) if line.startswith(f"{len(short)} maps")]
    assert not any(
        "under-determined" in line.note for line in prune_model(llama(), tokens(1), Recipe("wanda"))
    )


def test_what_cannot_be_repaired_is_said(trained, tokens):
    with pytest.raises(UsageError, match="no repair 'subblock'"):
        repair_named("subblock")
    with pytest.raises(UsageError, match="no repair"):
        Recipe("wanda", repair=("polish",))
    with pytest.raises(UsageError, match="no calibration data"):
        prune_model(trained(), None, Recipe("magnitude", repair=("least_squares",)))
    with pytest.raises(UsageError, match="none were given"):
        prune_matrix(torch.randn(4, 4), None, "magnitude", repair=["least_squares"])
    with pytest.raises(UsageError, match="precision 'half' is unknown"):
        settings = RepairSettings(precision="half")
        prune_model(trained(), tokens(), Recipe("wanda", repair=("block",), repair_settings=settings))
