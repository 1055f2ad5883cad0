import pytest
from hypothesis import given
from hypothesis import strategies as st

from digsite.base import jsonl


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    return tmp_path_factory.mktemp("journal") / "x.jsonl"


@given(values=st.lists(st.integers(), max_size=8), cut=st.integers(0, 200))
def test_a_journal_cut_anywhere_reads_up_to_the_last_whole_line(journal, values, cut):
    journal.unlink(missing_ok=True)
    for value in values:
        jsonl.append_record(journal, {"value": value})
    data = journal.read_bytes() if values else b""
    journal.write_bytes(data[: min(cut, len(data))])
    read = [record["value"] for record in jsonl.read_records(journal)]
    assert read == values[: data[:cut].count(b"\n")]


def test_reading_goes_on_from_an_offset_and_truncation_forgets(tmp_path):
    path = tmp_path / "x.jsonl"
    jsonl.append_record(path, {"a": 1})
    size = jsonl.whole_size(path)
    jsonl.append_record(path, {"a": 2})
    assert list(jsonl.read_records(path, offset=size)) == [{"a": 2}]
    jsonl.cut_file(path, size)
    assert list(jsonl.read_records(path)) == [{"a": 1}]


def test_no_file_is_an_empty_journal(tmp_path):
    assert list(jsonl.read_records(tmp_path / "none")) == []
    assert jsonl.whole_size(tmp_path / "none") == 0
