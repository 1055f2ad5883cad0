import json
import sys
from types import SimpleNamespace

import pytest

from digsite.base.errors import DigsiteError, MissingExtra, NotFound, UsageError
from digsite.data import text
from digsite.data.tokenizers import CharTokenizer


def test_files_of_texts(tmp_path):
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo\n<|endoftext|>\n")
    (tmp_path / "b.json").write_text(json.dumps(["x", "y"]))
    assert text.read_documents(str(tmp_path / "a.txt")) == ["one", "two"]
    assert text.read_documents(str(tmp_path / "b.json")) == ["x", "y"]


def test_windows_are_rows_of_one_stream():
    rows = text.cut_windows(["abcd", "ab"], CharTokenizer("abcd"), 3)
    assert rows.tolist() == [[0, 1, 2], [3, 0, 1]]
    with pytest.raises(UsageError, match="2 tokens, less than one window of 9"):
        text.cut_windows(["ab"], CharTokenizer("ab"), 9)


def test_named_corpora(data_dir, monkeypatch):
    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    assert len(text.read_documents("tinystories")) == 1000
    assert len(text.read_documents("tinystories_v2")) == 1728
    (shakespeare,) = text.read_documents("tinyshakespeare")
    assert shakespeare.startswith("First Citizen")


def test_missing_texts_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    with pytest.raises(NotFound, match=r"no text 'shakespeare'.*'tinyshakespeare'"):
        text.read_documents("shakespeare")
    with pytest.raises(NotFound, match="corpus 'tinystories' is not on this machine"):
        text.read_documents("tinystories")
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(UsageError, match="not a JSON list of texts"):
        text.read_documents(str(tmp_path / "c.json"))


class Rows(list):
    @property
    def column_names(self):
        return list(self[0])


@pytest.fixture
def library(monkeypatch):
    """A stand-in for the package, which has no dataset without a network; the real one is used where installed."""
    calls = []

    def load_dataset(*names, **options):
        calls.append((names, options))
        if names[0] == "org/gone":
            raise FileNotFoundError("no such dataset\nmore")
        if options["split"] == "nonsense":
            raise ValueError("Unknown split")
        return Rows({"story": f"text {i}", "n": i} for i in range(5))

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.delenv("DIGSITE_OFFLINE", raising=False)
    return calls


def test_texts_of_a_column(library):
    assert text.read_hub_texts("org/stories", "story", limit=2) == ["text 0", "text 1"]
    assert library == [(("org/stories", None), {"split": "train", "streaming": True})]


def test_mistakes_are_named(library):
    with pytest.raises(NotFound, match=r"'org/stories' has no column 'text'\. Accepted: n, story"):
        text.read_hub_texts("org/stories")
    with pytest.raises(
        NotFound, match=r"'org/gone' could not be reached \(no such dataset\)\. Use the generated"
    ):
        text.read_hub_texts("org/gone")
    with pytest.raises(DigsiteError, match="could not be opened"):
        text.read_hub_texts("org/stories", split="nonsense")


def test_offline_and_without_the_extra(library, monkeypatch):
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    with pytest.raises(NotFound, match="is on the hub and DIGSITE_OFFLINE is set"):
        text.read_hub_texts("org/stories")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"digsite\[hub\]"):
        text.read_hub_texts("org/stories")


def test_the_real_package_reads_a_local_file(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in "ab"))
    assert text.read_hub_texts(str(tmp_path / "t.jsonl")) == ["a", "b"]


def test_a_published_standard_is_its_whole_split(library, monkeypatch, tmp_path):
    """By name from the hub, or the rows as a file of one's own; joined as the papers do."""
    monkeypatch.setenv("DIGSITE_DATA", str(tmp_path))
    with pytest.raises(NotFound, match="has no column 'text'"):  # the stand-in's columns are others
        text.read_standard("wikitext2")
    assert library[-1] == (("Salesforce/wikitext", "wikitext-2-raw-v1"), {"split": "test", "streaming": True})
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "wikitext-2-raw-test.json").write_text(json.dumps(["one", "", "two"]))
    assert text.read_standard("wikitext2") == ("one\n\n\n\ntwo", 2048)
    (tmp_path / "text" / "wikitext-2-raw-test.json").write_text('{"rows": 1}')
    with pytest.raises(UsageError, match="is not a JSON list of texts"):
        text.read_standard("wikitext2")
