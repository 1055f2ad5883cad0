import math

import pytest

from digsite.decompose.judge.verdict import bound_score, summarize_score


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
    assert bound_score(key) == (least, most)


def test_two_members_are_points_and_five_have_an_interval():
    rows = [{"accuracy/ci": 0.9 + i / 50, "ce_difference/ci": -0.2} for i in range(5)]
    assert (
        summarize_score(rows[:2], "accuracy/ci").low is None
        and len(summarize_score(rows[:2], "accuracy/ci").points) == 2
    )
    found = summarize_score(rows, "accuracy/ci")
    assert (found.low, found.value, found.high) == pytest.approx((0.9, 0.94, 0.98))
    assert summarize_score(rows, "ce_difference/ci").low is None  # all agree: no interval without width
