"""Dates of a curve with a known rise, of one that falls, and of one that never moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.base.errors import UsageError
from digsite.track.core.formation import date_formation, window_share

STEPS = np.arange(0, 1000, 5.0)


@given(middle=st.floats(200, 700), width=st.floats(8, 40), level=st.floats(-3, 3), size=st.floats(0.1, 50))
def test_a_logistic_is_dated_at_its_own_quantiles(
    middle: float, width: float, level: float, size: float
) -> None:
    values = level + size / (1 + np.exp(-(STEPS - middle) / width))
    found = date_formation(STEPS, values)
    assert found is not None
    assert found.middle == pytest.approx(middle, abs=12) and found.onset == pytest.approx(
        middle - width * np.log(9), abs=15
    )
    assert found.end == pytest.approx(middle + width * np.log(9), abs=15)
    down = date_formation(STEPS, -values, falls=True)
    assert down is not None and down.middle == found.middle


def test_a_part_that_falls_again_is_dated_by_its_rise() -> None:
    values = np.exp(-(((STEPS - 400) / 80) ** 2))
    found = date_formation(STEPS, values)
    assert found is not None and 270 < found.onset < found.middle < found.end <= 400


def test_losses_are_dated_on_their_logarithm() -> None:
    values = 10.0 ** (-6 / (1 + np.exp(-(STEPS - 500) / 20)))
    plain, log = (date_formation(STEPS, values, falls=True, logarithmic=flag) for flag in (False, True))
    assert plain is not None and log is not None and plain.middle < log.middle == pytest.approx(500, abs=10)


def test_nothing_to_date() -> None:
    assert date_formation(STEPS, np.ones(200)) is None
    assert date_formation(STEPS, -STEPS) is None
    assert date_formation(STEPS[:2], np.arange(2.0)) is None
    with pytest.raises(UsageError, match="3 values but 2 steps"):
        date_formation(STEPS[:2], np.arange(3.0))


def test_chance_is_the_share_of_samples() -> None:
    found = date_formation(STEPS, (STEPS > 500).astype(float))
    assert found is not None and window_share(found, STEPS) == pytest.approx(1 / 200)
