import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.prune.judge.drift import measure_drift, outputs_of


@given(scale=st.floats(0.0, 2.0))
def test_shrinking_the_deviation_from_the_mean_is_measured_in_spreads(scale):
    before = torch.randn(9, 4, 3, generator=torch.Generator().manual_seed(0))
    mean = before.mean(0, keepdim=True)
    found = measure_drift(before, mean + (before - mean) * scale, logits=False)
    assert found.distance == pytest.approx((1 - scale) ** 2, abs=1e-4) and found.null == 1.0


def test_answers_are_compared_by_kl_beside_the_mean_answer():
    p = torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    q = torch.tensor([[0.25, 0.75], [0.9, 0.1]])
    found = measure_drift(p.log(), q.log(), logits=True)
    wanted = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert found.distance == pytest.approx(wanted / 2, rel=1e-5) and found.agreement == 0.5
    mean = p.mean(0)
    assert found.null == pytest.approx(float((p * (p / mean).log()).sum(1).mean()), rel=1e-5)


def test_an_unchanged_model_has_not_moved():
    model = torch.nn.Linear(3, 4)
    x = torch.randn(6, 3)
    found = measure_drift(outputs_of(model, x), outputs_of(model, {"input": x}), logits=False)
    assert found.distance == 0 and found.agreement == 1 and "moved by 0" in found.sentence()
