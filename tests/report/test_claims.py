"""Rows of the table of claims."""

import pytest

from digsite.report.claims import clear_of_null, row
from digsite.runs.results import Claim


@pytest.mark.parametrize(
    ("claim", "clear"),
    [
        (Claim("a", 1.0, 0.5, 1.5, 3, 0.0), True),
        (Claim("a", 1.0, 0.5, 1.5, 3, 0.5), False),
        (Claim("a", -1.0, -1.5, -0.5, 3, 0.0), True),
        (Claim("a", 1.0, None, None, 3, 0.0), None),
        (Claim("a", 1.0, 0.5, 1.5), None),
    ],
)
def test_clear_of_null(claim, clear):
    assert clear_of_null(claim) is clear


def test_the_picture_keeps_the_order_of_its_marks():
    picture = row(Claim("a", 0.9, 0.8, 1.0, 5, 0.1)).picture
    assert picture is not None
    assert picture.null is not None and picture.low is not None and picture.high is not None
    assert 0 < picture.null < picture.low < picture.value < picture.high < 100


def test_no_picture_without_something_to_compare():
    assert row(Claim("a", 0.9)).picture is None
    assert row(Claim("a", None, 0.1, 0.2)).picture is None
    assert row(Claim("a", 0.9, null=float("inf"))).picture is None


def test_equal_marks_sit_in_the_middle():
    picture = row(Claim("a", 1.0, 1.0, 1.0, 5, 1.0)).picture
    assert picture is not None and (picture.value, picture.low, picture.null) == (50, 50, 50)
