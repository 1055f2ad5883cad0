import json

import pytest

from digsite.base.errors import NotFound, UsageError
from digsite.data import text
from digsite.data.tokenizers import CharTokenizer


def test_files_of_texts(tmp_path):
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo\n<|endoftext|>\n")
    (tmp_path / "b.json").write_text(json.dumps(["x", "y"]))
    assert text.documents(str(tmp_path / "a.txt")) == ["one", "two"]
    assert text.documents(str(tmp_path / "b.json")) == ["x", "y"]


def test_windows_are_rows_of_one_stream():
    rows = text.windows(["abcd", "ab"], CharTokenizer("abcd"), 3)
    assert rows.tolist() == [[0, 1, 2], [3, 0, 1]]
    with pytest.raises(UsageError, match="2 tokens, less than one window of 9"):
        text.windows(["ab"], CharTokenizer("ab"), 9)


def test_named_corpora(data_dir, monkeypatch):
    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    assert len(text.documents("tinystories")) == 1000
    assert len(text.documents("tinystories_v2")) == 1728
    (shakespeare,) = text.documents("tinyshakespeare")
    assert shakespeare.startswith("First Citizen")


def test_missing_texts_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    with pytest.raises(NotFound, match=r"no text 'shakespeare'.*'tinyshakespeare'"):
        text.documents("shakespeare")
    with pytest.raises(NotFound, match="corpus 'tinystories' is not on this machine"):
        text.documents("tinystories")
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(UsageError, match="not a JSON list of texts"):
        text.documents(str(tmp_path / "c.json"))
