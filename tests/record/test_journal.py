import pytest

from digsite.base import jsonl
from digsite.record.journal import CLOCK, Journal, read_series


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "metrics.jsonl")


def test_series_are_columns_with_their_own_steps(journal):
    journal.log(0, {"loss": 1.0})
    journal.log(5, {"loss": 0.5, "error": float("nan"), "note": "text"})
    assert read_series(journal.path) == {"loss": ([0, 5], [1.0, 0.5])}


def test_a_resumed_run_walks_over_its_own_lines_and_goes_on(journal):
    """What was logged outside of any checkpoint is logged again, and stands there once."""
    for step in range(4):
        journal.log(step, {"loss": step})
    whole = journal.path.read_bytes()
    again = Journal(journal.path)
    again.replay_from()
    for step in range(5):
        again.log(step, {"loss": step})
    again.close()
    assert journal.path.read_bytes() == whole + b'{"step": 4, "loss": 4}\n'


def test_a_line_that_comes_out_otherwise_cuts_what_followed(journal):
    for step in range(4):
        journal.log(step, {"loss": step})
    again = Journal(journal.path)
    again.replay_from()
    again.log(0, {"loss": 0})
    again.log(1, {"loss": 9})
    assert read_series(journal.path) == {"loss": ([0, 1], [0, 9])}


def test_what_was_not_logged_again_is_forgotten_at_the_end(journal):
    for step in range(4):
        journal.log(step, {"loss": step})
    again = Journal(journal.path)
    again.replay_from()
    again.log(0, {"loss": 0})
    again.close()
    assert read_series(journal.path) == {"loss": ([0], [0])}


def test_a_mark_holds_until_the_journal_loses_or_changes_a_byte(journal):
    journal.log(0, {"loss": 1})
    mark = journal.take_mark()
    journal.log(1, {"loss": 2})
    assert journal.holds(mark)
    data = journal.path.read_bytes()
    journal.path.write_bytes(data[: mark[0] - 1])
    assert not journal.holds(mark)
    journal.path.write_bytes(b"x" + data[1:])
    assert not journal.holds(mark)


def test_times_lie_beside_the_journal(journal):
    journal.log(3, {"loss": 1})
    assert journal.path.read_bytes() == b'{"step": 3, "loss": 1}\n'
    (line,) = jsonl.read_records(journal.path.with_name(CLOCK))
    assert line["step"] == 3 and line["time"] > 1.7e9


@pytest.mark.parametrize(
    "bad",
    [
        b'{"step": 1, "lo',
        b"\0" * 50,
        b"[" * 5000,
        b"\xff\xfe",
        b"7",
        b'{"step": "x", "loss": 2}',
        b"x" * 2_000_000,
        b'{"step": 1, "loss": ' + b"9" * 400 + b"}",
        b'{"step": NaN, "loss": 1}',
        b'{"step": 1, "loss": true}',
    ],
)
def test_a_damaged_line_costs_itself_only(journal, bad):
    journal.log(0, {"loss": 1})
    with journal.path.open("ab") as file:
        file.write(bad + b"\n")
    journal.log(2, {"loss": 3})
    assert read_series(journal.path) == {"loss": ([0, 2], [1, 3])}
