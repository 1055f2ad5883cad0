"""Runs beside each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from digsite.record.layout import RunDir
from digsite.record.results import Claim
from digsite.record.status import Status
from digsite.report.comparison import compare_facts, pool_claims
from digsite.report.facts import Facts


def facts(run_id, config, claims=()):
    from pathlib import Path

    return Facts(
        RunDir(Path("/nowhere/study") / run_id),
        Status("finished"),
        "finished",
        "study",
        "a.b",
        "full",
        "",
        (),
        config,
        "",
        tuple(claims),
        {},
        {},
        (),
        (),
    )


@given(st.lists(st.integers(0, 40), min_size=2, max_size=6))
def test_pooled_shares_get_the_exact_interval_of_all_their_trials(hits):
    """Three runs of 40 of 40 were once "1 to 1"."""
    pooled = pool_claims([Claim("a", h / 40, 0.1, 0.9, 40, 0.5, kind="share") for h in hits])
    exact = stats.binomtest(sum(hits), 40 * len(hits)).proportion_ci(method="exact")
    assert (pooled.low, pooled.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert pooled.n == 40 * len(hits) and pooled.low < pooled.high


@given(st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=20, unique=True))
def test_pooled_numbers_are_the_median_between_two_of_them(values):
    pooled = pool_claims([Claim("a", v, null=1.0) for v in values])
    assert pooled.value == pytest.approx(float(np.median(values))) and pooled.null == 1.0
    assert pooled.low in values and pooled.high in values


def test_a_few_runs_are_shown_as_points():
    pooled = pool_claims([Claim("a", 1.0, kind="median"), Claim("a", 1.0, kind="median")])
    assert (pooled.low, pooled.high, pooled.points) == (None, None, (1.0, 1.0))


def test_one_run_keeps_its_own_interval():
    claim = Claim("a", 1.0, 0.5, 1.5, 7, 0.1)
    assert pool_claims([claim]) is claim


def test_missing_values_are_left_out_of_the_mean():
    assert pool_claims([Claim("a", 1.0), Claim("a", None), Claim("a", 3.0)]).value == 2.0
    assert pool_claims([Claim("a", None), Claim("a", None)]).value is None


def test_differences_come_apart_from_what_is_shared():
    compared = compare_facts(
        [facts("x", {"lr": 1, "seed": 0, "n": 5}), facts("y", {"lr": 2, "seed": 1, "n": 5, "new": True})]
    )
    assert compared.differing == {"lr": (1, 2), "seed": (0, 1), "new": (None, True)}
    assert compared.shared == {"n": 5}
    assert len(compared.groups) == 2


def test_true_and_one_differ():
    assert "a" in compare_facts([facts("x", {"a": True}), facts("y", {"a": 1})]).differing


def test_runs_that_differ_in_their_seed_share_a_group():
    runs = [facts(str(i), {"lr": i // 2, "seed": i}, [Claim("c", float(i))]) for i in range(4)]
    first, second = compare_facts(runs).groups
    assert [run.id for run in first.members] == ["0", "1"]
    assert first.settings == {"lr": 0}
    assert second.claims["c"].value == 2.5
