from digsite.record.journal import Journal, series


def test_series_are_columns_with_their_own_steps(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.log(0, {"loss": 1.0})
    journal.log(5, {"loss": 0.5, "error": float("nan"), "note": "text"})
    assert series(journal.path) == {"loss": ([0, 5], [1.0, 0.5])}


def test_rewind_forgets_what_will_be_repeated(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.log(0, {"loss": 1})
    size = journal.size()
    journal.log(1, {"loss": 2})
    journal.rewind(size)
    journal.log(1, {"loss": 3})
    assert series(journal.path) == {"loss": ([0, 1], [1, 3])}
