"""What goes wrong in the exam becomes a row that says so, and the other rows are scored."""

import pytest
import torch

from digsite.decompose.config import ExamConfig
from digsite.decompose.experiments.exam import list_programs, sit_exam
from digsite.decompose.judge import contestants


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


def sit(method, monkeypatch, **settings):
    monkeypatch.setattr(contestants, "find_object", lambda name: method)
    config = ExamConfig.model_validate({"programs": ["frac_prevs"], "ladder": [1]} | settings)
    return sit_exam(config, "py:mine:method", "frac_prevs", 1)


def test_parts_that_do_not_add_up_are_scored_as_they_are_and_it_is_said(monkeypatch):
    row = sit(lose_a_part, monkeypatch)
    assert not row["failed"] and row["error"] > 0.1 and row["unmasked"] < 0.99


@pytest.mark.parametrize(
    ("method", "sentence"),
    [(give_nan, "not finite"), (turn_shapes, "have shapes"), (give_none, "no part of the site")],
    ids=["nan", "shapes", "none"],
)
def test_a_contestant_that_breaks_its_word_is_a_row_with_a_reason(method, sentence, monkeypatch):
    row = sit(method, monkeypatch)
    assert sentence in row["failed"] and "purity" not in row


def test_whoever_takes_longer_than_the_budget_is_not_scored(monkeypatch):
    row = sit(split_matrices, monkeypatch, budget=1e-6)
    assert "more than its budget" in row["failed"] and row["cpu_s"] > 0


def test_a_domain_that_is_too_large_is_sampled_and_the_row_says_so(monkeypatch):
    assert sit(split_matrices, monkeypatch, most_inputs=50)["whole_domain"] == 0


def test_names_of_many_programs_are_spelled_out():
    assert list_programs(["hist", "hist", "dyck10"]) == ["hist", "dyck10"]
