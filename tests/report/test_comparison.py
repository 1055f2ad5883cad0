"""Runs beside each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from digsite.record.layout import RunDir
from digsite.record.results import Claim
from digsite.record.status import Status
from digsite.report.comparison import compare, pool
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


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_pooling_is_scipys_interval(values):
    pooled = pool([Claim("a", v, null=1.0) for v in values])
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error) if error else (values[0],) * 2
    assert pooled.n == len(values) and pooled.null == 1.0
    assert pooled.value == pytest.approx(np.mean(values), abs=1e-9)
    assert (pooled.low, pooled.high) == pytest.approx((low, high), rel=1e-3, abs=1e-3 * (error or 1))


def test_one_run_keeps_its_own_interval():
    claim = Claim("a", 1.0, 0.5, 1.5, 7, 0.1)
    assert pool([claim]) is claim


def test_missing_values_are_left_out_of_the_mean():
    assert pool([Claim("a", 1.0), Claim("a", None), Claim("a", 3.0)]).value == 2.0
    assert pool([Claim("a", None), Claim("a", None)]).value is None


def test_differences_come_apart_from_what_is_shared():
    compared = compare(
        [facts("x", {"lr": 1, "seed": 0, "n": 5}), facts("y", {"lr": 2, "seed": 1, "n": 5, "new": True})]
    )
    assert compared.differing == {"lr": (1, 2), "seed": (0, 1), "new": (None, True)}
    assert compared.shared == {"n": 5}
    assert len(compared.groups) == 2


def test_true_and_one_differ():
    assert "a" in compare([facts("x", {"a": True}), facts("y", {"a": 1})]).differing


def test_runs_that_differ_in_their_seed_share_a_group():
    runs = [facts(str(i), {"lr": i // 2, "seed": i}, [Claim("c", float(i))]) for i in range(4)]
    first, second = compare(runs).groups
    assert [run.id for run in first.members] == ["0", "1"]
    assert first.settings == {"lr": 0}
    assert second.claims["c"].value == 2.5
