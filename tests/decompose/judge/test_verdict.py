import math

import pytest

from digsite.decompose.judge.verdict import possible, summarize


@pytest.mark.parametrize(
    "key, least, most",
    [
        ("accuracy/rounded", 0, 1),
        ("layers.0.mlp_in/mmcs", 0, 1),
        ("linear1/alive_components", 0, math.inf),
        ("kl_recovered/svd", -math.inf, 1),
        ("ce_recovered/svd", -math.inf, math.inf),
        ("first_layer/ce_recovered/zero", -math.inf, math.inf),
        ("first_layer/ce_difference/ci", -math.inf, math.inf),
    ],
)
def test_what_a_quantity_can_be(key, least, most):
    assert possible(key) == (least, most)


def test_an_interval_ends_where_the_quantity_does():
    rows = [{"accuracy/ci": 0.9, "ce_difference/ci": -0.2}, {"accuracy/ci": 1.0, "ce_difference/ci": -0.1}]
    assert summarize(rows, "accuracy/ci").high == 1
    below = summarize(rows, "ce_difference/ci")
    assert below.low is not None and below.high is not None and below.low < -0.15 < below.high
    assert summarize(rows[:1], "accuracy/ci").low is None
