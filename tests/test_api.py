"""digsite from a notebook."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import getdoc, isfunction, signature
from pkgutil import iter_modules
from typing import Any

import pytest
import torch
from torch import nn

import digsite
from digsite.base.errors import DigsiteError, UsageError


def test_a_run_comes_back_as_an_object(tmp_path, plugin_studies):
    run = digsite.run("countdown", steps=3, runs=tmp_path / "runs", studies=plugin_studies, device="cpu")
    assert run.state == "finished" and run.config["steps"] == 3
    assert run["total"] == run.claims["total"].value
    assert run.metrics()["total"][0] == [0, 1, 2]
    assert "add up to" in run.verdict and run.id in repr(run)
    assert run.directory.report.is_file()
    assert digsite.open_run("last", runs=tmp_path / "runs").id == run.id
    assert [r.id for r in digsite.list_runs(tmp_path / "runs")] == [run.id]


def test_tables_figures_and_the_picture(tmp_path, plugin_studies):
    run = digsite.run("showcase", size="smoke", runs=tmp_path / "runs", studies=plugin_studies, device="cpu")
    assert len(run.table("overlaps")) == 10 and run.tables == ("loss_band", "overlaps")
    assert set(run.figures) == {"loss", "overlap"}
    html = run._repr_html_()
    assert html.startswith("<iframe sandbox srcdoc=") and "<script" not in html
    assert "Features with a direction of their own" in html and html.count("data:image/") == 2


def test_one_view_is_a_picture_in_a_notebook(tmp_path, plugin_studies):
    run = digsite.run("showcase", size="smoke", runs=tmp_path / "runs", studies=plugin_studies, device="cpu")
    assert {"mask", "overlaps"} <= set(run.views)
    for name in run.views:
        html = run.view(name)._repr_html_()
        assert "<script" not in html and "http" not in html, name
    assert "data:image/png;base64," in run.view("mask")._repr_html_()
    assert run.view("mask").data["rows"] > 0 and "matrix" in repr(run.view("mask"))
    assert "<td>" in run.view("overlaps")._repr_html_()
    with pytest.raises(DigsiteError, match="no view 'mas'.*'mask'"):
        run.view("mas")


def test_the_same_numbers_as_the_command_line(tmp_path, cli, plugin_studies):
    run = digsite.run("countdown", steps=4, seed=3, runs=tmp_path / "a", studies=plugin_studies, device="cpu")
    code, _, _ = cli(
        "run",
        "countdown",
        "steps=4",
        "seed=3",
        "--studies",
        plugin_studies,
        "--runs",
        tmp_path / "b",
        "--quiet",
    )
    assert code == 0
    (other,) = digsite.list_runs(tmp_path / "b")
    assert run.directory.results.read_bytes() == other.directory.results.read_bytes()


def test_mistakes_are_said(tmp_path, plugin_studies):
    with pytest.raises(UsageError, match="Did you mean 'steps'"):
        digsite.run("countdown", stps=3, runs=tmp_path, studies=plugin_studies)
    with pytest.raises(DigsiteError, match="did not finish: ValueError: as asked"):
        digsite.run("countdown", fail_at=1, runs=tmp_path, studies=plugin_studies)
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        digsite.walk  # noqa: B018


def test_importing_costs_nothing():
    code = "import sys, digsite; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_studies_by_question():
    assert digsite.list_studies()["tms_5-2"].endswith("?")


def list_exported() -> dict[str, Callable[..., Any]]:
    """Every function that a package of ours exports, by its dotted name; packages that can be called are none."""
    found: dict[str, Callable[..., Any]] = {}
    packages = [
        digsite,
        *(import_module(f"digsite.{m.name}") for m in iter_modules(digsite.__path__) if m.ispkg),
    ]
    for package in packages:
        for name in getattr(package, "__all__", ()):
            if isfunction(member := getattr(package, name)):
                found[f"{package.__name__}.{name}"] = member
    return found


def test_an_exported_function_names_every_parameter_in_its_docstring():
    exported = list_exported()
    assert len(exported) > 70
    for where, function in exported.items():
        page = getdoc(function) or ""
        unnamed = [name for name in signature(function).parameters if not re.search(rf"\b{name}\b", page)]
        assert not unnamed, f"{where} does not say what {unnamed} is"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: digsite.prune(None, methd="wanda"), "prune takes no 'methd'. Did you mean 'method'"),
        (lambda: digsite.run("tms_5-2", size="smok"), "no size 'smok' of a study. Did you mean 'smoke'"),
        (
            lambda: digsite.decompose(nn.Linear(2, 2).eval(), "", torch.ones(4, 2), stepss=3),
            "Did you mean 'steps'",
        ),
    ],
)
def test_a_wrong_keyword_in_a_notebook_is_answered_as_on_the_command_line(call, words):
    with pytest.raises(UsageError, match=words):
        call()
