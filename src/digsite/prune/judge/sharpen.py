"""More null draws exactly where a test is beyond nearly all of those drawn, as many as its q-value needs."""

import math
from collections.abc import Callable, Sequence

from digsite.prune.judge.significance import Test
from digsite.prune.judge.verdict import LEVEL

FEW = 3  # this many draws as extreme as the mask settle a test: more draws would not make it significant
# Tests by index, made again with so many draws from the same stream.
Again = Callable[[list[int], int], list[Test]]


def sharpened(tests: Sequence[Test], again: Again, most: int) -> list[Test]:
    """The tests, the unsettled ones with more draws; p-values stay exact.

    That is Besag and Clifford's sequential test in stages: whether a p-value below some level is reported never
    needs more than the draws at one fixed stage to be that extreme.
    """
    tests = list(tests)
    while unsettled := [i for i, test in enumerate(tests) if test.as_extreme < FEW]:
        draws = min(most, draws_needed(len(unsettled), len(tests)))
        short = [i for i in unsettled if tests[i].draws < draws]
        if not short:
            break
        for i, test in zip(short, again(short, draws), strict=True):
            tests[i] = test
    return tests


def draws_needed(n_unsettled: int, n_tests: int) -> int:
    """So many that all unsettled tests pass the false discovery rate, even with one draw as extreme as each."""
    return math.ceil(2 * n_tests / (LEVEL * n_unsettled) - 1e-9) - 1
