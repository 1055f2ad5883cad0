"""Plans are in training steps, hold the brackets of confirmed jumps, and keep to the budget."""

import numpy as np
import pytest

from digsite.base.errors import UsageError
from digsite.track import detect_jumps, plan_checkpoints
from digsite.track.judge.plan import log_then_linear


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
