"""What goes wrong in the exam becomes a row that says so, and the other rows are scored."""

from pathlib import Path

import pytest
import torch

from digsite.decompose.config import ExamConfig
from digsite.decompose.experiments.exam import list_programs, sit_exam, tell_faults
from digsite.decompose.judge import contestants
from digsite.decompose.judge.exam.marks import COLUMNS


def split_matrices(model, batches, sites, seed):
    parts = {}
    for site in sites:
        left, values, right = torch.linalg.svd(model.get_submodule(site).weight.T, full_matrices=False)
        parts[site] = (left * values, right)
    return parts


def lose_a_part(model, batches, sites, seed):
    parts = split_matrices(model, batches, sites, seed)
    return {site: (v[:, 1:], u[1:]) if len(u) > 1 else (v, u) for site, (v, u) in parts.items()}


def give_none(model, batches, sites, seed):
    return {site: (v[:, :0], u[:0]) for site, (v, u) in split_matrices(model, batches, sites, seed).items()}


def give_nan(model, batches, sites, seed):
    return {site: (v * torch.nan, u) for site, (v, u) in split_matrices(model, batches, sites, seed).items()}


def turn_shapes(model, batches, sites, seed):
    return {site: (u, v) for site, (v, u) in split_matrices(model, batches, sites, seed).items()}


def divide_by_zero(model, batches, sites, seed):
    return 1 / 0


def never_end(model, batches, sites, seed):
    while True:
        torch.ones(3).sum()


def want_too_much(model, batches, sites, seed):
    parts = split_matrices(model, batches, sites, seed)
    return parts, lambda ids: {site: torch.full((*ids.shape, len(u)), 7.0) for site, (_, u) in parts.items()}


def forget_importances(model, batches, sites, seed):
    return split_matrices(model, batches, sites, seed), lambda ids: None


def sit(method, monkeypatch, **settings):
    monkeypatch.setattr(contestants, "find_object", lambda name: method)
    config = ExamConfig.model_validate({"programs": ["frac_prevs"], "ladder": [1]} | settings)
    return sit_exam(config, "py:mine:method", "frac_prevs", 1)


def test_parts_that_do_not_add_up_are_scored_as_they_are_and_it_is_said(monkeypatch):
    row = sit(lose_a_part, monkeypatch)
    assert not row["failed"] and row["error"] > 0.1 and row["unmasked"] < 0.99


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        (give_nan, "not finite"),
        (turn_shapes, "have shapes"),
        (give_none, "no part of the site"),
        (divide_by_zero, "failed: ZeroDivisionError, division by zero"),
        (want_too_much, "leave the range from 0 to 1"),
        (forget_importances, "The function of importances failed"),
    ],
    ids=["nan", "shapes", "none", "raises", "range", "no-importances"],
)
def test_a_contestant_that_breaks_its_word_is_a_row_with_a_reason(method, sentence, monkeypatch):
    row = sit(method, monkeypatch)
    assert sentence in row["failed"] and "purity" not in row


# The budget's signal may come inside of a collector's callback, where Python reports what is raised and goes on; it rings again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_whoever_takes_longer_than_the_budget_is_not_scored(monkeypatch):
    row = sit(split_matrices, monkeypatch, budget=1e-6)
    assert "budget" in row["failed"] and row["cpu_s"] > 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_whoever_never_ends_is_stopped_at_the_budget(monkeypatch):
    row = sit(never_end, monkeypatch, budget=0.3)
    assert "stopped at its budget" in row["failed"] and 0.25 < row["cpu_s"] < 3
    assert not sit(split_matrices, monkeypatch)["failed"]  # and the timer is gone


def test_a_domain_that_is_too_large_is_sampled_and_the_row_says_so(monkeypatch):
    assert sit(split_matrices, monkeypatch, most_inputs=50)["whole_domain"] == 0


def test_names_of_many_programs_are_spelled_out():
    assert list_programs(["hist", "hist", "dyck10"]) == ["hist", "dyck10"]


def test_what_a_reader_must_know_is_said():
    row = {"contestant": "me", "program": "p", "failed": "", "error": 0.0, "whole_domain": 1}
    assert tell_faults([row]) == ""
    text = tell_faults([row | {"error": 0.5}, row | {"whole_domain": 0}, row | {"failed": "no"}])
    assert "Not scored: 'me' on 'p'" in text
    assert "do not add up to the weights, scored as they are: 'me'" in text
    assert "Inputs were sampled, not all tried: 'p'" in text


def test_the_page_of_the_exam_says_what_each_column_is():
    page = (Path(__file__).parents[3] / "docs" / "exam.md").read_text()
    assert [c for c, meaning in COLUMNS.items() if f"| `{c}` | {meaning} |" not in page] == []
