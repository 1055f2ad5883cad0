"""Marks: said after the fact, in a file of their own, by several people at once."""

import threading

import pytest

from digsite.base.errors import UsageError
from digsite.record import create_run
from digsite.record.marks import NOTE_LIMIT, Marks, change_marks, read_marks


@pytest.fixture
def run(tmp_path):
    return create_run(tmp_path / "runs", {"study": "s", "method": "a.b", "config": {"seed": 0}})


def test_what_is_not_named_stays(run):
    assert read_marks(run) == Marks()
    change_marks(run, add=["good", " two  words "], note="first")
    change_marks(run, remove=["good"], star=True)
    assert read_marks(run) == Marks(("two words",), "first", True)
    assert change_marks(run, note="").note == ""


@pytest.mark.parametrize("tag", ["", " \n ", "x" * 10_000, "bell\x07"])
def test_a_tag_that_is_none_is_one_sentence_and_nothing_is_lost(run, tag):
    change_marks(run, add=["good"])
    with pytest.raises(UsageError, match="tag"):
        change_marks(run, add=["better", tag])
    assert read_marks(run).tags == ("good",)


def test_a_note_of_any_length_is_refused_and_the_old_one_stays(run):
    change_marks(run, note="old")
    with pytest.raises(UsageError, match=f"at most {NOTE_LIMIT:,} characters"):
        change_marks(run, note="x" * (NOTE_LIMIT + 1))
    assert read_marks(run).note == "old"


def test_two_who_write_at_once_lose_nothing(run):
    writers = [
        threading.Thread(target=change_marks, args=(run,), kwargs={"add": [f"t{i}"]}) for i in range(12)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert set(read_marks(run).tags) == {f"t{i}" for i in range(12)}


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"tags": 3, "note": [], "star": "yes"}'])
def test_a_damaged_file_says_nothing_and_can_be_written_again(run, text):
    (run.path / "marks.json").write_text(text)
    assert read_marks(run) == Marks()
    assert change_marks(run, add=["new"]).tags == ("new",)
