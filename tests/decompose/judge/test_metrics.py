"""Contracts: every metric gives finite numbers, every figure draws, on a toy model and names itself."""

import math

import pytest
import torch
from matplotlib.figure import Figure

from digsite.base.errors import UsageError
from digsite.base.families import read_purpose, scan_family
from digsite.decompose import decompose
from digsite.decompose.config import Truth
from digsite.decompose.judge.metrics import View
from digsite.models import build, parse

METRICS, FIGURES = scan_family("digsite.decompose.judge.metrics"), scan_family("digsite.decompose.figures")
TOKENS = ("ce_and_kl", "embedding_recon", "token_importance")  # for models that read tokens
TOY_METRICS = [name for name in METRICS if name not in TOKENS]
TOY_FIGURES = [name for name in FIGURES if name not in TOKENS]


@pytest.fixture(scope="module")
def view() -> View:
    model = build(parse({"kind": "resid_mlp", "n_features": 6, "d_resid": 12, "d_mlp": 4}))
    found = decompose(model, ["layers.*.mlp_*"], data=torch.randn(64, 6), C=8, steps=3, batch=16)
    patterns = {"*mlp_in": Truth(identity=6), "*mlp_out": Truth(dense=4)}
    sample = lambda i: torch.randn(32, 6, generator=torch.Generator().manual_seed(i))  # noqa: E731
    course = [{"step": 3 * i, "error_mean": 9.0 - i, "error_max": 9.0} for i in range(3)]
    return View(found, sample, 2, 6, patterns, course=course)


@pytest.mark.parametrize("name", TOY_METRICS)
def test_every_metric_measures(name, view):
    found = METRICS[name]().measure(view)
    assert found
    assert all(math.isfinite(value) for value in found.values())
    assert METRICS[name]().kind == name
    assert read_purpose(METRICS[name])


@pytest.mark.parametrize("name", TOY_FIGURES)
def test_every_figure_draws(name, view):
    assert isinstance(FIGURES[name].draw_figure(view), Figure)
    assert FIGURES[name].CAPTION.endswith(".")


def test_importances_are_counted_by_hand(view):
    found = METRICS["ci_l0"](threshold=0.3).measure(view)
    for module, g in view.importance.items():
        assert g.shape == (64, 8)
        assert found[f"l0_0.3/{module}"] == pytest.approx(sum((row > 0.3).sum().item() for row in g) / 64)


def test_the_adversary_finds_worse_masks_than_chance(view):
    worst = METRICS["pgd_recon"]().measure(view)["recon/pgd"]
    assert worst > METRICS["masked_recon"]().measure(view)["recon/stochastic"]


def test_the_identity_metric_needs_known_features(view):
    blind = View(view.decomposition, view.sample)
    with pytest.raises(UsageError, match="features and solution are known"):
        METRICS["identity_ci_error"]().measure(blind)


def test_the_course_needs_checks(view):
    with pytest.raises(UsageError, match="checks its importances"):
        FIGURES["course"].draw_figure(View(view.decomposition, view.sample))


@pytest.mark.parametrize("name", TOKENS)
def test_members_for_tokens_say_so(name, view):
    with pytest.raises(UsageError, match=r"token|embedding"):
        METRICS[name]().measure(view) if name in METRICS else FIGURES[name].draw_figure(view)
