"""Time as a budget, on a clock that the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.joint.core.statements import Allowance, parse_duration


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_share_is_of_what_is_left():
    clock = Clock()
    whole = Allowance(100.0, clock)
    clock.now = 40.0
    assert whole.left == 60.0
    assert whole.share(1, 3).left == pytest.approx(20.0)
    clock.now = 130.0
    assert whole.is_used and whole.share(1, 2).is_used


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=8))
def test_shares_that_are_used_up_add_up_to_the_whole(weights):
    clock = Clock()
    whole, used = Allowance(60.0, clock), 0.0
    for place, weight in enumerate(weights):
        part = whole.share(weight, sum(weights[place:])).left
        clock.now += part
        used += part
    assert used == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5min", 300), ("1.5h", 5400), (" 2 m ", 120)]
)
def test_times_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "five", "-3s", "0", "nan", "1e99"])
def test_what_is_no_time_is_said(text):
    with pytest.raises(ValueError, match="is no time: write 90s"):
        parse_duration(text)
