"""Results on disk: claims apart from measurements, older and newer files still open."""

import json

import pytest

from digsite.record.layout import RunDir
from digsite.record.results import Cited, Claim, Results, Rival, find_misses, read_results, write_results
from digsite.report.facts import results_or_none

FULL = Claim(
    "a",
    1.0,
    0.9,
    1.1,
    8,
    0.0,
    title="How much",
    kind="ratio",
    better="higher",
    null_is="chance",
    p=0.01,
    rivals=(Rival("svd", 0.5),),
    points=(1.0, 1.1),
)
RESULTS = Results(
    "s", "It is so.", (FULL, Claim("b", None)), headline=("a",), hero="f", cited=(Cited("1", "a"),)
)


def test_round_trip(tmp_path):
    write_results(tmp_path / "results.json", RESULTS)
    assert read_results(tmp_path / "results.json") == RESULTS
    assert read_results(tmp_path / "none.json") is None
    assert RESULTS.value("a") == 1.0


def test_what_has_no_null_or_no_interval_is_stored_as_a_measurement(tmp_path):
    claims = (
        Claim("whole", 1.0, 0.5, 1.5, 3, 0.0),
        Claim("no null", 1.0, 0.5, 1.5),
        Claim("no interval", 1.0, null=0),
    )
    write_results(tmp_path / "results.json", Results("s", "", claims))
    stored = json.loads((tmp_path / "results.json").read_text())
    assert [row["name"] for row in stored["claims"]] == ["whole"]
    assert [row["name"] for row in stored["measurements"]] == ["no null", "no interval"]
    assert stored["schema"] == 2


OLD = {
    "schema": 1,
    "study": "s",
    "verdict": "Old words.",
    "claims": [
        {"name": "x", "value": 1.0, "low": 0.5, "high": 1.5, "n": 3, "null": 0.0, "unit": "", "note": ""},
        {
            "name": "y",
            "value": 2.0,
            "low": None,
            "high": None,
            "n": None,
            "null": None,
            "unit": "",
            "note": "?",
        },
    ],
}


def test_a_file_of_version_one_opens(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(OLD))
    results = read_results(tmp_path / "results.json")
    assert results and [claim.name for claim in results.claims] == ["x", "y"]
    assert [claim.is_measurement for claim in results.claims] == [False, True]
    assert [claim.name for claim in results.leading] == ["x"]


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_unknown_fields_are_kept_and_never_fatal(tmp_path, schema):
    """One more column once made `show` raise, and the report say "No claims"."""
    row = {**OLD["claims"][0], "replicated_by": ["me"]}
    stored = {**OLD, "schema": schema, "claims": [row], "weather": "fine"}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(stored))
    results = results_or_none(RunDir(tmp_path))
    assert results and results["x"].value == 1.0
    assert ("newer digsite" in results.caution) == (schema > 2)
    write_results(path, results)
    again = json.loads(path.read_text())
    assert again["weather"] == "fine" and again["claims"][0]["replicated_by"] == ["me"]


def test_a_run_without_a_headline_leads_with_its_claims():
    claims = (*(Claim(str(i), 1.0, 0.0, 2.0, 3, 0.5) for i in range(7)), Claim("bare", 1.0))
    assert [claim.name for claim in Results("s", "", claims).leading] == ["0", "1", "2", "3", "4"]


def test_misses_name_claim_value_range_and_source():
    expected = {
        "claims": {
            "a": {"value": 2.0, "tolerance": 0.5, "source": "paper"},
            "b": {"min": 0, "source": "us"},
            "c": {"max": 1, "source": "us"},
        }
    }
    assert find_misses(RESULTS, expected) == [
        "a: got 1.0, expected 1.5 to 2.5 (paper)",
        "b: got None, expected 0 to inf (us)",
        "c: got None, expected -inf to 1 (us)",
    ]
    assert find_misses(RESULTS, {"claims": {"a": {"value": 1, "tolerance": 0.1, "source": "us"}}}) == []


def test_a_size_too_small_to_answer_is_expected_to_say_so():
    """RESULTS holds `a` with a value, `b` without one, and no `c`."""
    unanswered = {"undecided": True, "source": "us"}
    assert find_misses(RESULTS, {"claims": {"b": unanswered}}) == []
    assert find_misses(RESULTS, {"claims": {"a": unanswered, "c": unanswered}}) == [
        "a: got 1.0, expected no answer (us)",
        "c: got None, expected no answer (us)",
    ]
