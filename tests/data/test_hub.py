import json
import sys
from types import SimpleNamespace

import pytest

from digsite.base.errors import DigsiteError, MissingExtra, NotFound
from digsite.data import hub


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
    assert hub.texts("org/stories", "story", limit=2) == ["text 0", "text 1"]
    assert library == [(("org/stories",), {"split": "train", "streaming": True})]


def test_mistakes_are_named(library):
    with pytest.raises(NotFound, match=r"'org/stories' has no column 'text'\. Accepted: n, story"):
        hub.texts("org/stories")
    with pytest.raises(
        NotFound, match=r"'org/gone' could not be reached \(no such dataset\)\. Use the generated"
    ):
        hub.texts("org/gone")
    with pytest.raises(DigsiteError, match="could not be opened"):
        hub.texts("org/stories", split="nonsense")


def test_offline_and_without_the_extra(library, monkeypatch):
    monkeypatch.setenv("DIGSITE_OFFLINE", "1")
    with pytest.raises(NotFound, match="is on the hub and DIGSITE_OFFLINE is set"):
        hub.texts("org/stories")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"digsite\[hub\]"):
        hub.texts("org/stories")


def test_the_real_package_reads_a_local_file(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in "ab"))
    assert hub.texts(str(tmp_path / "t.jsonl")) == ["a", "b"]
