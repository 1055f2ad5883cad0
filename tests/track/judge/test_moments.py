"""Looking inside at a moment: ablations change what they should, differences are after minus before."""

import numpy as np
import pytest
import torch

from digsite.base.errors import UsageError
from digsite.models import build, parse
from digsite.track import detect_jumps, plan_checkpoints
from digsite.track.core.probe import Probe
from digsite.track.judge import moments
from digsite.track.judge.moments import log_then_linear

SHAPE = {
    "kind": "transformer",
    "image": (1, 8, 8),
    "patch": 4,
    "d_model": 16,
    "n_heads": 2,
    "d_mlp": 16,
    "n_layers": 1,
}


def seen(model: torch.nn.Module, step: int = 0) -> moments.Moment:
    probe = Probe(
        torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4, n_rows=40
    )
    return moments.look_at_moment(model, probe, step, torch.Generator().manual_seed(0))


def test_a_head_that_writes_nothing_has_no_effect() -> None:
    model = build(parse(SHAPE))
    attention = model.get_submodule("blocks.0.attn")
    with torch.no_grad():
        attention.o_proj.weight[:, :8] = 0  # head 0 is not read
    found = seen(model).numbers
    assert abs(found["blocks.0.attn/ablate_head_0"]) < 1e-6
    assert abs(found["blocks.0.attn/ablate_head_1"]) > 1e-6
    assert not attention.o_proj._forward_pre_hooks


def test_differences() -> None:
    model = build(parse(SHAPE))
    before = seen(model)
    assert set(moments.moment_difference(before, before).values()) == {0.0}
    with torch.no_grad():
        model.get_submodule("blocks.0.attn.q_proj").weight.mul_(30)
    change = moments.moment_difference(before, seen(model, 5))
    assert change["entropy"] < 0
    assert {"specialization", "distinctness", "sparsity", "loss"} <= set(change)


def test_weights_moved_matches_filters() -> None:
    draw = torch.Generator().manual_seed(0)
    before = {"conv": torch.randn(6, 2, 3, 3, generator=draw), "bias": torch.zeros(6)}
    after = {"conv": before["conv"][torch.randperm(6, generator=draw)], "bias": torch.ones(6)}
    found = moments.weights_moved(before, after, draw)
    assert found["filter_cosine"] > 0.99 > found["filter_cosine_null"]


# Plans are in training steps, hold the brackets of confirmed jumps, and keep to the budget.


def jumps():
    values = np.r_[np.zeros(100), np.full(100, 9.0)] + np.random.default_rng(0).standard_normal(200)
    return detect_jumps(values, np.arange(200) * 50)


def test_backbone() -> None:
    assert log_then_linear(40, 10) == [0, 1, 2, 4, 8, 10, 20, 30, 40]


def test_brackets_hold_the_jump() -> None:
    plan = plan_checkpoints(jumps(), 10000)
    (bracket,) = plan.brackets
    assert bracket.before < 5000 <= bracket.after
    assert {bracket.before, bracket.during, bracket.after} <= set(plan.steps)
    assert plan.steps == tuple(sorted(plan.steps)) and plan.steps[-1] == 10000
    assert plan.as_json()["unit"] == "training steps"


def test_the_budget_is_kept() -> None:
    plan = plan_checkpoints(jumps(), 10000, checkpoint_bytes=100, budget_bytes=900)
    assert plan.total_bytes <= 900 and len(plan.steps) <= 9
    assert 0 in plan.steps and 10000 in plan.steps
    tight = plan_checkpoints(jumps(), 10000, checkpoint_bytes=100, budget_bytes=200)
    assert tight.steps == (0, 10000) and tight.dropped == 1


def test_bad_budgets_and_runs() -> None:
    with pytest.raises(UsageError, match="two are needed"):
        plan_checkpoints([], 100, checkpoint_bytes=100, budget_bytes=150)
    with pytest.raises(UsageError, match="nothing to keep"):
        plan_checkpoints([], 0)
