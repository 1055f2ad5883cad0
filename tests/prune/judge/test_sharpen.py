"""More draws go where they decide something, and p-values made in stages stay honest."""

import numpy as np

from digsite.prune.judge.sharpen import FEW, draws_needed, sharpened
from digsite.prune.judge.significance import Test, judge


def made(observed: np.ndarray, stream: np.ndarray, draws: int) -> list[Test]:
    return [
        judge(f"s{i}", "n", "rows", value, row[:draws], "upper")
        for i, (value, row) in enumerate(zip(observed, stream, strict=True))
    ]


def sharpen(
    observed: np.ndarray, stream: np.ndarray, start: int = 19, asked: list | None = None
) -> list[Test]:
    def again(wanted: list[int], draws: int) -> list[Test]:
        if asked is not None:
            asked.append((tuple(wanted), draws))
        return [made(observed, stream, draws)[i] for i in wanted]

    return sharpened(made(observed, stream, start), again, stream.shape[1])


def test_only_unsettled_tests_are_drawn_again_and_each_keeps_its_stream():
    stream = np.random.default_rng(0).random((4, 999))
    observed = np.array([0.5, 1.5, 0.4, 0.6])
    asked: list = []
    tests = sharpen(observed, stream, asked=asked)
    assert asked == [((1,), draws_needed(1, 4))]
    assert [test.draws for test in tests] == [19, 159, 19, 19]
    assert tests[1].p == 1 / 160 and tests[0] == made(observed, stream, 19)[0]


def test_draws_stop_at_the_most_allowed():
    stream = np.random.default_rng(0).random((2, 50))
    assert [test.draws for test in sharpen(np.array([2.0, 2.0]), stream)] == [39, 39]
    assert [test.draws for test in sharpen(np.array([2.0, 0.0]), stream)] == [50, 19]


def test_draws_grow_with_the_number_of_tests_and_fall_with_those_unsettled():
    assert draws_needed(1, 470) == 18_799
    assert draws_needed(47, 470) == 399
    # what they are for: every unsettled test passes the false discovery rate even with one draw as extreme
    for unsettled, n in [(1, 20), (3, 100), (50, 100)]:
        assert 2 / (draws_needed(unsettled, n) + 1) <= 0.05 * unsettled / n


def test_p_values_in_stages_are_valid_under_the_null():
    """P(p <= a) <= a for every level, over 4,000 single tests whose observation is one more draw; seed 1."""
    rng = np.random.default_rng(1)
    found = np.array([sharpen(rng.random(1), rng.random((1, 399)), start=19)[0].p for _ in range(4000)])
    for level in (0.01, 0.02, 0.05, 0.1, 0.2):
        share = (found <= level).mean()
        assert share <= level + 3 * (level * (1 - level) / len(found)) ** 0.5, level
    assert (found <= 0.05).mean() > 0.03  # and they are not merely conservative


def test_as_extreme_counts_ties():
    test = judge("s", "n", "rows", 1.0, [0.0, 1.0, 2.0, 3.0], "upper")
    assert test.as_extreme == FEW and test.p == 4 / 5
