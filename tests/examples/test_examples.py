"""The examples run, and what stands alone on the last line of a cell shows itself in a notebook."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


def shown(path: Path) -> list[str]:
    """Names that end a cell."""
    cells = re.split(r"(?m)^# %%.*$", path.read_text())
    last = [cell.strip().splitlines()[-1] for cell in cells if cell.strip()]
    return [line for line in last if line.isidentifier()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_runs_and_shows_its_objects(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(path))
    assert capsys.readouterr().out.strip()
    assert shown(path)
    for name in shown(path):
        html = names[name]._repr_html_()
        assert html.startswith("<") and "<script" not in html and len(html) > 300


def test_there_are_five():
    assert len(EXAMPLES) == 5
