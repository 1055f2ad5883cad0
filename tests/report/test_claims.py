"""Rows of the table of claims."""

import pytest

from digsite.record.results import Claim
from digsite.report.claims import beside_null, claim_row, common_axis, say_p


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
    picture = claim_row(Claim("a", 0.9, 0.8, 1.0, 5, 0.1)).picture
    assert picture is not None
    assert picture.null is not None and picture.low is not None and picture.high is not None
    assert 0 < picture.null[0] == picture.null[1] < picture.low < picture.value < picture.high < 100


def test_no_picture_without_something_to_compare():
    assert claim_row(Claim("a", 0.9)).picture is None
    assert claim_row(Claim("a", None, 0.1, 0.2)).picture is None
    assert claim_row(Claim("a", 0.9, null=float("inf"))).picture is None


def test_equal_marks_sit_in_the_middle():
    picture = claim_row(Claim("a", 1.0, 1.0, 1.0, 5, 1.0)).picture
    assert picture is not None and (picture.value, picture.low, picture.null) == (50, 50, (50, 50))


def test_claims_of_one_unit_share_a_scale_with_their_nulls_on_it():
    claims = [
        Claim("a", 0.9, 0.8, 0.95, 5, 0.5, kind="share"),
        Claim("b", 0.6, 0.4, 0.8, 5, 0.5, kind="share"),
    ]
    axis = common_axis(claims)
    assert axis and "one scale" in axis.caption
    first, second = axis.pictures
    assert first and second and first.null == second.null  # the same null at the same place
    assert first.value > second.value and axis.ticks == ("0", "0.5", "1")


def test_claims_of_several_units_are_drawn_around_their_nulls_with_better_to_the_right():
    claims = [
        Claim("gain", 8.0, 4.0, 12.0, 5, 0.0, "points", kind="difference", better="higher"),
        Claim("errors", 1.0, 0.0, 2.0, 5, 30.0, kind="count", better="lower"),
        Claim("bare", 3.0),
    ]
    axis = common_axis(claims)
    assert axis and axis.ticks == ("", "null", "better")
    gain, errors, bare = axis.pictures
    assert gain and errors and bare is None
    assert gain.null == errors.null == (50.0, 50.0) and min(gain.value, errors.value) > 50
    assert gain.low is not None and gain.high is not None and gain.low < gain.value < gain.high
    assert errors.low is not None and errors.high is not None and errors.low < errors.value < errors.high


def test_a_row_says_whether_its_side_is_good():
    worse = claim_row(Claim("a", 0.2, 0.1, 0.3, 5, 0.9, better="higher"))
    assert worse.outcome == "worse than the null" and worse.beside_null == "below"
    assert claim_row(Claim("a", 0.2, 0.1, 0.3, 5, 0.9, better="lower")).outcome == "better than the null"
    assert (
        claim_row(Claim("a", 0.2, 0.1, 0.3, 5, 0.25, better="lower")).outcome
        == "not told apart from the null"
    )
    assert common_axis([Claim("a", 1.0)]) is None


def test_a_count_and_a_share_do_not_share_a_scale():
    claims = [
        Claim("found", 0.8, 0.3, 1.0, 5, 0.0, kind="share"),
        Claim("errors", 0.0, 0.0, 1.0, 5, 12.0, kind="count"),
    ]
    axis = common_axis(claims)
    assert axis and "around its null" in axis.caption


def test_no_p_is_said_to_be_zero():
    assert say_p(0.0) == say_p(1e-15) == "< 1e-12" and say_p(0.0312) == "= 0.031"
