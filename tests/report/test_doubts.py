"""What would change the answer."""

from pathlib import Path

import pytest

from digsite.record.layout import RunDir
from digsite.record.results import Claim
from digsite.record.status import Status
from digsite.report.doubts import doubts
from digsite.report.facts import Facts


def about(*claims, state="finished", size="full", provenance=None):
    facts = Facts(
        RunDir(Path("/nowhere/study/id")),
        Status(state),
        state,
        "study",
        "a.b",
        size,
        "",
        (),
        {},
        "",
        claims,
        provenance or {},
        {},
        (),
        (),
    )
    return doubts(facts)


def test_a_claim_on_its_null_says_how_much_data_it_would_take():
    (text,) = about(Claim("gap", 0.1, -0.1, 0.3, 10, 0.0))
    assert "gap cannot be told apart" in text
    assert "n = 40 instead of 10" in text  # half width 0.2, distance 0.1: four times the data


def test_more_data_does_not_help_a_value_that_sits_on_its_null():
    (text,) = about(Claim("gap", 0.001, -0.1, 0.102, 10, 0.0))
    assert "would only make that surer" in text


def test_many_weak_claims_are_counted_and_not_spelled_out():
    texts = about(*(Claim(f"gap{i}", 0.1, -0.1, 0.3, 10, 0.0) for i in range(7)))
    assert len(texts) == 5 and texts[-1] == "So for 3 more: gap4, gap5, gap6."


def test_the_closest_call_is_named():
    texts = about(Claim("easy", 1.0, 0.99, 1.01, 5, 0.0), Claim("hard", 1.0, 0.5, 1.5, 5, 0.2))
    assert len(texts) == 1 and "hard" in texts[0] and "1.6 times" in texts[0]


@pytest.mark.parametrize(
    ("claim", "part"),
    [
        (Claim("a", 1.0, null=0.0), "Without an interval"),
        (Claim("a", 1.0, 0.9, 1.1), "Without a null"),
        (Claim("a", None), "Could not be computed"),
    ],
)
def test_what_is_missing_is_said(claim, part):
    assert any(part in text for text in about(claim))


def test_small_sizes_unfinished_runs_and_dirty_code_are_said():
    texts = about(state="failed", size="quick", provenance={"git": {"diff": "+x"}})
    assert [("failed" in texts[0]), ("digsite run study" in texts[1]), ("uncommitted" in texts[2])] == [
        True
    ] * 3


def test_nothing_to_doubt_is_silence():
    assert about() == []
