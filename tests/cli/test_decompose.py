"""digsite decompose on a model by reference."""

import pytest

from digsite.decompose import Decomposition
from digsite.decompose.subjects import targets

SMALL = (
    "decompose.steps=4",
    "decompose.batch=64",
    "decompose.compile=never",
    "decompose.C=6",
    "metrics={}",
    "figures=[]",
    "seeds=1",
)
PAIRS = "py:digsite.decompose.subjects.targets:build_pairs"
INPUTS = "py:digsite.decompose.subjects.targets:draw_pairs"


def test_a_model_becomes_a_run_that_loads(cli, tmp_path):
    code, out, err = cli("decompose", PAIRS, "--modules", "0,2", "--data", INPUTS, "--runs", tmp_path, *SMALL)
    assert code == 0, err
    assert "of 6 parts in '0'" in out
    (run,) = (tmp_path / "own_model").iterdir()
    assert Decomposition.load(run, model=targets.build_pairs()).modules == ["0", "2"]


def test_a_pattern_without_a_match_is_one_sentence(cli, tmp_path):
    code, _, err = cli(
        "decompose", PAIRS, "--modules", "layer9", "--data", INPUTS, "--runs", tmp_path, *SMALL
    )
    assert code == 2
    assert "No module matches 'layer9'" in err


def test_a_wrong_setting_is_answered_before_anything_runs(cli, tmp_path):
    code, _, err = cli("decompose", PAIRS, "--modules", "0", "--runs", tmp_path, "decompose.stepz=4")
    assert code == 2
    assert "Did you mean 'steps'" in err
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_there_makes_no_run(cli, tmp_path):
    code, _, err = cli("decompose", "missing.pt", "--modules", "0", "--runs", tmp_path, *SMALL)
    assert code == 3 and "There is no model file 'missing.pt'." in err and "resume" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [("nowhere.txt", 3, "There is no text 'nowhere.txt'."), ("short.txt", 2, "reads no text.")],
)
def test_a_text_that_cannot_be_read_makes_no_run(cli, tmp_path, monkeypatch, text, code, sentence):
    """A short text is held against the model before there is a run; what has too few tokens is refused there too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("Too short.")
    left, _, err = cli("decompose", PAIRS, "--modules", "0", "--text", text, "--runs", tmp_path / "runs")
    assert left == code and sentence in err
    assert not (tmp_path / "runs").exists()
