import dataclasses

import numpy as np
import pytest
import torch
from safetensors import safe_open

from digsite.read.judge.edge_kinds import (
    Example,
    Judgement,
    describe_examples,
    grow_rules,
    judge_edge,
    judge_tuning,
)
from digsite.read.judge.relation import relate_networks
from digsite.read.subjects.network import network_of

G = torch.Generator().manual_seed(0)
STATE = {f"{i}.weight": torch.randn(16, 16, generator=G) for i in range(3)}
PARENT = network_of("p", STATE)


def _judged(state):
    child = network_of("c", state)
    return judge_edge(PARENT, child, relate_networks(PARENT, child)), judge_edge(
        child, PARENT, relate_networks(child, PARENT)
    )


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda t: torch.where(t.abs() < 0.5, 0.0, t), "pruned"),
        (lambda t: t.to(torch.float16).float(), "quantised"),
        (lambda t: 1.5 * t, "rescaled copy"),
        (lambda t: t, "identical copy"),
    ],
)
def test_operations_that_leave_a_trace(change, kind):
    ahead, back = _judged({k: change(t) for k, t in STATE.items()})
    assert ahead.kind == back.kind == kind
    if kind in ("pruned", "quantised"):
        assert ahead.forward > 0.9 and back.forward < 0.1


def test_a_fresh_head():
    head = torch.randn(16, 16, generator=G) * 0.3
    ahead, _ = _judged({**STATE, "2.weight": head})
    assert ahead.kind == "re-initialised head" and ahead.forward > 0.8


def test_probabilities_add_up_and_turn_round():
    child = network_of("c", {k: t + 0.1 * torch.randn(t.shape, generator=G) for k, t in STATE.items()})
    one, other = judge_tuning(PARENT, child), judge_tuning(child, PARENT)
    assert one.forward + other.forward == pytest.approx(1, abs=1e-6) and 0 < one.certainty <= 1
    assert dataclasses.astuple(one.turned().turned()) == dataclasses.astuple(one)


def test_a_counter_of_batches_is_believed_where_weights_are_near():
    child = network_of(
        "c", {k: t * 1.001 + 0.01 * torch.randn(t.shape, generator=G) for k, t in STATE.items()}
    )
    early, late = (dataclasses.replace(n, counters={"bn": c}) for n, c in ((PARENT, 100), (child, 900)))
    assert judge_tuning(early, late).forward > judge_tuning(PARENT, child).forward
    assert isinstance(judge_tuning(early, late), Judgement)


def test_rules_learn_what_the_examples_show_and_are_calibrated_on_recipes_left_out(tmp_path):
    rng = np.random.default_rng(0)
    examples = []
    for i in range(80):
        forward = rng.normal(size=6)
        forward[0] = abs(forward[0]) + 0.5
        kind = ("fine-tuned", "continued", "distilled", "repaired", "siblings")[i % 5]
        examples.append(Example(f"recipe{i % 3}", kind, forward, -forward))
    slope = grow_rules(examples, tmp_path / "rules.safetensors")
    assert 0.05 <= slope <= 2
    with safe_open(tmp_path / "rules.safetensors", "pt") as stored:
        assert "reverse" in stored.metadata()["classes"]


def test_examples_are_read_in_both_directions():
    g = torch.Generator().manual_seed(0)
    networks = {
        n: network_of(n, {"a": torch.randn(6, 6, generator=g), "b": torch.randn(6, 6, generator=g)})
        for n in "pc"
    }
    (found,) = describe_examples("r", networks, [("p", "c", "fine-tuned")])
    assert found.forward.shape == found.backward.shape and not np.allclose(found.forward, found.backward)
