import math
from itertools import pairwise

import pytest

from digsite.base.errors import UsageError
from digsite.decompose.core.schedules import SCHEDULES, factor


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_starts_at_one_and_never_grows(name):
    values = [factor(name, step, 100, halflife=20) for step in range(100)]
    assert values[0] == 1
    assert all(a >= b for a, b in pairwise(values))


def test_closed_forms():
    assert factor("cosine", 50, 100) == pytest.approx(math.cos(math.pi / 4))
    assert factor("half_cosine", 50, 100) == pytest.approx(0.5)
    assert factor("linear", 25, 100, final=0.2) == pytest.approx(0.2 + 0.8 * 0.75)
    assert factor("exponential", 40, 100, halflife=20) == pytest.approx(0.25)
    assert factor("constant", 0, 100, warmup=0.1) == pytest.approx(0.1)


def test_an_unknown_schedule_is_answered():
    with pytest.raises(UsageError, match="'cosine'"):
        factor("cosin", 0, 10)
