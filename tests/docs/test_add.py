"""The files that docs/add.md adds to digsite itself do what the page says."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from digsite.launch import Options
from digsite.prune.core.patterns import SparsityPattern
from digsite.studies import sweep as planner

PAGE = Path(__file__).parents[2] / "docs" / "add.md"


@pytest.fixture
def member(tmp_path):
    def load(name: str):
        (body,) = re.findall(rf"^```python file=src/\S*/{name}\n(.*?)^```", PAGE.read_text(), re.S | re.M)
        (tmp_path / name).write_text(body)
        spec = importlib.util.spec_from_file_location(Path(name).stem, tmp_path / name)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_score_prunes_from_the_end(member):
    score = member("last_first.py")
    decision = score.LastFirst().prune_weight(torch.ones(4, 6), None, SparsityPattern(0.5))
    assert decision.keep.flatten().tolist() == [True] * 11 + [False] * 13  # one more than half, as published


def test_the_launcher_runs_a_sweep(member, plugin_studies, plugin_env, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", plugin_env["PYTHONPATH"])
    spaces = planner.spaces_from_words(["countdown"], ["seed=0,1"], samples=1, seed=0)
    sweep = planner.write_sweep(planner.plan_jobs(spaces, extra=[plugin_studies]), tmp_path / "runs")
    assert member("inline.py").launch(sweep, "", Options()) == 0
    assert sweep.counts() == {"finished": 2}
