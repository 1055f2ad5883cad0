"""Sentences know no more than the results."""

import pytest

from digsite.record.results import Claim, Rival
from digsite.record.verdict import VerdictRefused, cite, fill_verdict

CLAIMS = (
    Claim("k=8/ratio", 1.1487, 1.12, 1.18, 5, 1.0931, kind="ratio"),
    Claim("recovered", 7 / 8, 0.47, 0.997, 8, 0.125, kind="share", rivals=(Rival("svd", 0.9),), p=0.012),
    Claim("gain", -3.25, -5.0, -1.0, 12, 0.0, "points", kind="difference"),
    Claim("accuracy", 93.4, 90.1, 95.0, 3, 50.0, "%"),
    Claim("missing", None),
)


def said(text):
    return fill_verdict(text, CLAIMS)[0]


def test_numbers_are_filled_in_as_their_kind_is_written():
    assert said(f"{cite('recovered')} of them") == "87.5 % of them"
    assert said(f"{cite('recovered', 'interval')}, n = {cite('recovered', 'n')}") == "47.0 to 99.7 %, n = 8"
    assert said(f"svd {cite('recovered', 'svd')}, {cite('recovered', 'p')}") == "svd 90.0 %, p = 0.012"
    assert said(f"moves by {cite('gain')}") == "moves by \u22123.25 points"
    assert said(f"{cite('accuracy')} beside {cite('accuracy', 'null')}") == "93.4 % beside 50.0 %"
    assert said(f"ratio {cite('k=8/ratio', style='.3f')}") == "ratio 1.149"


def test_a_number_of_a_rounding_that_is_not_the_claims_is_refused():
    """`mask-clusters` once said 1.143 in the sentence and 1.149 in the table."""
    assert said("The ratio is 1.149 at k=8.") == "The ratio is 1.149 at k=8."
    with pytest.raises(VerdictRefused, match="says 1.143, which is no claim"):
        said("The ratio is 1.143 at k=8.")


@pytest.mark.parametrize("text", ["87.5 %", "88 %", "7 %", "-3.25", "93.4 %", "n = 12", "null 0.125"])
def test_written_numbers_are_looked_for_at_their_precision(text):
    known = text != "7 %"
    if known:
        assert said(text) == text
    else:
        with pytest.raises(VerdictRefused):
            said(text)


def test_names_are_no_numbers():
    text = "R2 of layer1 in 'topk 32' of tms_5-2 at 2:4, S5 and Q1, k=4, as a 95 % interval: nothing."
    assert said(text) == text


def test_which_number_is_which_claim_is_kept():
    _, cited = fill_verdict(f"{cite('accuracy')} where the null is 50", CLAIMS)
    assert [(c.text, c.claim, c.part) for c in cited] == [
        ("93.4 %", "accuracy", "value"),
        ("50", "accuracy", "null"),
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (cite("nowhere"), "cites 'nowhere', which this run does not claim"),
        (cite("missing"), "could not be computed"),
        (cite("accuracy", "p"), "could not be computed"),
        (cite("accuracy", "svd"), "has no 'svd'"),
        ("read with AUROC nan", "says 'nan' where a number should be"),
    ],
)
def test_what_a_sentence_cannot_say(text, part):
    """`group-zoo` once said "read with AUROC nan, where its width alone gives nan"."""
    with pytest.raises(VerdictRefused, match=part):
        said(text)
