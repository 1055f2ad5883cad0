"""Rows of the table of claims."""

import pytest

from digsite.record.results import Claim
from digsite.report.claims import beside_null, row


@pytest.mark.parametrize(
    ("claim", "side"),
    [
        (Claim("a", 1.0, 0.5, 1.5, 3, 0.0), "above"),
        (Claim("a", 1.0, 0.5, 1.5, 3, 0.5), "covers"),
        (Claim("a", -1.0, -1.5, -0.5, 3, 0.0), "below"),
        (Claim("a", 1.0, 0.5, 1.5, 3, 0.0, null_low=-0.4, null_high=0.4), "above"),
        (Claim("a", 1.0, 0.5, 1.5, 3, 0.0, null_low=-0.6, null_high=0.6), "covers"),
        (Claim("a", 1.0, None, None, 3, 0.0), ""),
        (Claim("a", 1.0, 0.5, 1.5), ""),
        (Claim("a", 1.0, 1.0, 1.0, 2, 0.0), ""),  # two equal seeds are not an interval
    ],
)
def test_on_which_side_of_its_null_a_claim_lies(claim, side):
    assert beside_null(claim) == side


def test_the_picture_keeps_the_order_of_its_marks():
    picture = row(Claim("a", 0.9, 0.8, 1.0, 5, 0.1)).picture
    assert picture is not None
    assert picture.null is not None and picture.low is not None and picture.high is not None
    assert 0 < picture.null[0] == picture.null[1] < picture.low < picture.value < picture.high < 100


def test_no_picture_without_something_to_compare():
    assert row(Claim("a", 0.9)).picture is None
    assert row(Claim("a", None, 0.1, 0.2)).picture is None
    assert row(Claim("a", 0.9, null=float("inf"))).picture is None


def test_equal_marks_sit_in_the_middle():
    picture = row(Claim("a", 1.0, 1.0, 1.0, 5, 1.0)).picture
    assert picture is not None and (picture.value, picture.low, picture.null) == (50, 50, (50, 50))
