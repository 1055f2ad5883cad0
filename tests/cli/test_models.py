"""Model x verb: every cell is an answer or one sentence. The table stands in docs/models.md and is made here."""

import os
from pathlib import Path

import pytest
from model_matrix import VERBS, Case, as_table, family_cases, format_cases, run_case, write_data

pytestmark = pytest.mark.timeout(
    1800
)  # one fixture runs the whole matrix: a minute alone, many on a busy machine
PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- made by tests/cli/test_models.py -->\n", "<!-- end -->\n"


@pytest.fixture(scope="module")
def rows(tmp_path_factory, transformers):
    root = tmp_path_factory.mktemp("matrix")
    data = write_data(root / "data")
    cases = [*family_cases(root / "families", data, transformers), *format_cases(root / "files", data)]
    return {(case.name, case.what): dict(run_case(case, root)) for case in cases}


def test_no_cell_is_a_traceback_and_every_refusal_is_one_sentence(rows):
    broken = {
        (name, verb): cell.text
        for (name, _), cells in rows.items()
        for verb, cell in cells.items()
        if cell.outcome == "broken"
    }
    assert not broken
    assert len(rows) == 30 and all(set(cells) == set(VERBS) for cells in rows.values())


def test_every_family_is_read_and_pruned_and_decomposed(rows):
    refused = {
        (name, verb): cell.text
        for (name, what), cells in rows.items()
        for verb, cell in cells.items()
        if what == "Hugging Face folder" and verb != "graft" and cell.outcome != "answered"
    }
    assert not refused


def test_the_page_has_this_table(rows):
    table = as_table(rows)
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    if os.environ.get("DIGSITE_WRITE_DOCS"):
        PAGE.write_text(before + BEGIN + table + END + rest.partition(END)[2])
    assert PAGE.read_text().partition(BEGIN)[2].partition(END)[0] == table


@pytest.mark.slow
def test_the_networks_at_hand(data_dir, tmp_path, monkeypatch):
    """Trained networks of others: every file of the data folder that is a model, through every verb."""
    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    given = write_data(tmp_path / "data")
    folders = [p.parent for p in sorted(data_dir.glob("*/*/config.json"))]
    files = sorted(data_dir.glob("*/*.safetensors"))
    lm = [p.parent for p in sorted(data_dir.glob("lm/*/model.safetensors"))]
    broken = {}
    for path in dict.fromkeys([*lm, *folders, *files]):
        text = ("--calibration", given["text"], "--sequences", "4")
        case = Case(path.name, str(path), "*mlp*", text, ("--text", given["text"]))
        cells = dict(run_case(case, tmp_path))
        broken |= {(path.name, verb): cell.text for verb, cell in cells.items() if cell.outcome == "broken"}
    assert not broken
