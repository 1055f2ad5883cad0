"""The page of promises is true: what it names exists, and it counts nothing as kept that is missing."""

import re
import runpy
import shlex
from functools import cache
from pathlib import Path

import pytest

from digsite.cli import cli as root_command
from digsite.zoo.store import INDEX

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "promises.md"
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
parse = runpy.run_path(str(Path(__file__).with_name("test_docs.py")))["parse"]
STATES = re.compile(r"(kept|differs|missing)\b")


def named_things() -> list[str]:
    cells = [row[1] for row in ROWS if row[0] != "promise of the original"]
    states = [row[2] for row in ROWS]
    return sorted({span for cell in (*cells, *states) for span in re.findall(r"`([^`]+)`", cell)})


@cache
def source_text() -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / "src" / "digsite").rglob("*.py")))


def test_every_row_has_a_state_and_what_differs_says_why():
    rows = [row for row in ROWS if row[0] != "promise of the original"]
    assert len(rows) > 60
    for promise, _, state in rows:
        assert STATES.match(state), promise
        assert not state.startswith("differs") or ":" in state, promise


@pytest.mark.parametrize("thing", named_things())
def test_what_is_named_exists(thing, tmp_path, monkeypatch):
    """A command parses down to its settings, a path is there, any other word stands in the source."""
    if thing.startswith("digsite"):
        monkeypatch.chdir(tmp_path)
        for model in re.findall(r"[\w-]+\.safetensors", thing):
            (tmp_path / model).touch()  # a model that is named and not there is refused
        for zoo in re.findall(r"\bzoo=([\w-]+)", thing):  # and a zoo that was not made
            made = tmp_path / "runs" / zoo / "1" / "artifacts" / "zoo" / INDEX
            made.parent.mkdir(parents=True)
            made.touch()
        parse(root_command, shlex.split(thing)[1:])
    elif "/" in thing:
        assert (ROOT / thing).exists()
    else:
        assert thing in source_text()
