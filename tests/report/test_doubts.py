"""What would change the answer."""

from pathlib import Path

import pytest

from digsite.record.layout import RunDir
from digsite.record.results import Claim
from digsite.record.status import Status
from digsite.report.doubts import list_doubts
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
        headline=tuple(c.name for c in claims),
    )
    return list_doubts(facts)


def test_a_claim_on_its_null_says_how_much_data_it_would_take():
    (text,) = about(Claim("gap", 0.1, -0.1, 0.3, 10, 0.0))
    assert "gap: not told apart from its null" in text
    assert "about 4 times the n" in text  # near side 0.2, distance 0.1


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (
            Claim("a", 0.5, 0.5 - 1.1, 0.6, 74, 0.0),
            "about 5 times",
        ),  # the near side counts, not half the width
        (
            Claim("a", 0.1, -0.01, 9.0, 90, 0.0),
            "",
        ),  # once "n = 74 instead of 90 to tell": needs next to nothing
        (Claim("a", 0.001, -0.1, 0.102, 10, 0.0), ""),  # once "n = 28570": nobody will
        (Claim("a", 0.1, -0.23, 0.5, 10, 0.0), "about 10 times"),  # one significant digit of 10.9
        (Claim("a", 0.5, 0.1, 0.9, 10, 0.0, null_low=-0.2, null_high=0.3), "about 4 times"),
    ],
)
def test_how_much_more_is_needed_is_said_roughly_or_not_at_all(claim, said):
    (text,) = about(claim)
    assert said in text if said else "would tell" not in text


def test_many_weak_claims_are_counted_and_not_spelled_out():
    texts = about(*(Claim(f"gap{i}", 0.1, -0.1, 0.3, 10, 0.0) for i in range(7)))
    assert len(texts) == 5 and texts[-1] == "So for 3 more: gap4, gap5, gap6."


def test_the_closest_call_is_named():
    texts = about(Claim("easy", 1.0, 0.99, 1.01, 5, 0.0), Claim("hard", 1.0, 0.5, 1.5, 5, 0.2))
    assert len(texts) == 1 and "hard, 1.00 (0.50 to 1.50), lies above its null 0.20" in texts[0]


def test_a_claim_below_its_null_is_not_said_to_clear_it():
    (text,) = about(Claim("kept", 0.2, 0.1, 0.3, 5, 0.9))
    assert "lies below its null" in text and "clears" not in text


@pytest.mark.parametrize(
    ("claim", "part"),
    [
        (Claim("a", 1.0, null=0.0), "only a measurement"),
        (Claim("a", 1.0, 0.9, 1.1), "only a measurement"),
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
