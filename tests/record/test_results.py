from digsite.record.results import Claim, Results, misses, read_results, write_results

RESULTS = Results("s", "It is so.", (Claim("a", 1.0, 0.9, 1.1, 8, null=0.0), Claim("b", None)))


def test_round_trip(tmp_path):
    write_results(tmp_path / "results.json", RESULTS)
    assert read_results(tmp_path / "results.json") == RESULTS
    assert read_results(tmp_path / "none.json") is None
    assert RESULTS.value("a") == 1.0


def test_misses_name_claim_value_range_and_source():
    expected = {
        "claims": {
            "a": {"value": 2.0, "tolerance": 0.5, "source": "paper"},
            "b": {"min": 0, "source": "us"},
            "c": {"max": 1, "source": "us"},
        }
    }
    assert misses(RESULTS, expected) == [
        "a: got 1.0, expected 1.5 to 2.5 (paper)",
        "b: got None, expected 0 to inf (us)",
        "c: got None, expected -inf to 1 (us)",
    ]
    assert misses(RESULTS, {"claims": {"a": {"value": 1, "tolerance": 0.1, "source": "us"}}}) == []
