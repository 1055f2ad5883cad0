"""Every allocation meets its budget to the weight, and says so when it cannot."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.base import families
from digsite.base.errors import UsageError
from digsite.prune.core import layers
from digsite.prune.core.budget import FAMILY, BudgetSettings, allocation_named, ask_about, meet_exactly
from digsite.prune.core.budget.search import convex_slopes
from digsite.prune.core.model import Recipe, prune_model
from digsite.prune.core.patterns import parse_pattern

MEMBERS = families.list_members(FAMILY)
SETTINGS = BudgetSettings(evaluations=20, rows=3, threshold=2.0)


@given(
    wishes=st.lists(st.tuples(st.floats(-1, 2), st.integers(1, 500)), min_size=1, max_size=8),
    sparsity=st.floats(0.05, 0.95),
)
def test_counts_add_up_and_keep_their_limits(wishes, sparsity):
    ratios = {str(i): ratio for i, (ratio, _) in enumerate(wishes)}
    sizes = {str(i): size for i, (_, size) in enumerate(wishes)}
    counts = meet_exactly(ratios, sizes, sparsity)
    assert sum(counts.values()) == round(sparsity * sum(sizes.values()))
    assert all(0 <= counts[name] <= sizes[name] for name in sizes)


def test_wishes_that_fit_are_granted():
    assert meet_exactly({"a": 0.25, "b": 0.75}, {"a": 40, "b": 40}, 0.5) == {"a": 10, "b": 30}


def test_a_budget_that_cannot_be_met_is_said():
    with pytest.raises(UsageError, match="cannot be met"):
        meet_exactly({"a": 0.5}, {"a": 10}, 0.9, most=0.7)
    with pytest.raises(UsageError, match="not a number"):
        meet_exactly({"a": float("nan")}, {"a": 10}, 0.5)


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt", "ria"])
@pytest.mark.parametrize("member", MEMBERS)
def test_every_allocation_is_exact_with_every_method(llama, tokens, member, method):
    model = llama()
    recipe = Recipe(method, parse_pattern(0.6), allocation=member, budget_settings=SETTINGS)
    ledger = prune_model(model, tokens(), recipe)
    total = sum(one.weight.numel() for one in layers.all_maps(model))
    assert sum(int((~one.keep).sum()) for one in ledger) == round(0.6 * total)
    for line in ledger:
        assert not model.get_submodule(line.name).weight[~line.keep].any()


def test_the_search_tries_no_more_models_than_stated(llama, tokens):
    model = llama()
    question = ask_about(model, layers.list_blocks(model), tokens(), 0.6, rows=3)
    before = [p.clone() for p in model.parameters()]
    member = families.scan_member(FAMILY, "evolution")()
    found = member.allocate_sparsity(question, SETTINGS)
    assert question.asked == SETTINGS.evaluations
    assert question.divergence(found) <= question.divergence(dict.fromkeys(question.sizes, 0.6)) + 1e-9
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_slopes_never_fall_and_add_up():
    slopes = convex_slopes(np.array([0.0, 3.0, 3.5, 9.0, 10.0]))
    assert (np.diff(slopes) >= -1e-12).all() and slopes.sum() == pytest.approx(10.0)


def test_names_and_patterns_are_checked_at_once():
    with pytest.raises(UsageError, match="no allocation 'evolve'"):
        allocation_named("evolve")
    with pytest.raises(UsageError, match="fixes one for all"):
        Recipe("wanda", parse_pattern(pattern="2:4"), allocation="sensitivity")
